"""From image ids to batches: which images a step sees, how they are read, and the processes that read them.

A request names one image and everything that decides what comes of it: its label's source and the address of its random
choices. Requests are made in the main process and carried out anywhere, so the number of loader processes changes
nothing, and one pool of processes serves training, labelling and evaluation of all phases.
"""

from dmtc.batches.loader import Loader
from dmtc.batches.requests import SUBSTITUTES, CropRequest, ImageRequest, training_requests
from dmtc.batches.samples import OnError, Reader, on_error_faults

__all__ = [
    "SUBSTITUTES",
    "CropRequest",
    "ImageRequest",
    "Loader",
    "OnError",
    "Reader",
    "on_error_faults",
    "training_requests",
]
