"""From image ids to batches: which images a step uses, how they are read, and the processes that read them.

A request names one image and all that determines the resulting sample: the source of its label and the address of its
random numbers. Requests are made in the main process and processed in any other, so results do not depend on the number
of loader processes, and one pool serves training, labelling and evaluation in all phases.
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
