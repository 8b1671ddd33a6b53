"""Data: reading from disk, and augmentation. Importing this package registers the data sets."""

from dmtc.data import ade20k, camvid, cityscapes, coco, folder, synthetic, voc
from dmtc.data.augment import Augment
from dmtc.data.dataset import DATASETS, Dataset

__all__ = ["DATASETS", "Augment", "Dataset", "ade20k", "camvid", "cityscapes", "coco", "folder", "synthetic", "voc"]
