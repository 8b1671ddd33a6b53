"""`dataset=folder`: any folders of images and masks, and all that is found out about them."""

from dmtc.data.folder.dataset import folder

__all__ = ["folder"]
