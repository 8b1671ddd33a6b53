"""`dataset=folder`: arbitrary folders of images and masks, whose structure is recognized automatically."""

from dmtc.data.folder.dataset import folder

__all__ = ["folder"]
