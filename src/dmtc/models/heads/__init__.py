"""The heads. Importing this package registers all of them in `MODELS`."""

from dmtc.models.heads import deeplabv2, deeplabv3plus, dpt, linear, segformer, upernet

__all__ = ["deeplabv2", "deeplabv3plus", "dpt", "linear", "segformer", "upernet"]
