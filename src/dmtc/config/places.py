"""Options that say where something lies on this machine. Everything that treats them specially takes them from here."""

DATA_PLACES = (
    "dataset.root",
    "dataset.images",
    "dataset.masks",
    "dataset.unlabelled",
    "dataset.val",
    "dataset.test",
    "dataset.classes",
    "dataset.cache",
)
"""Folders and files of a data set."""

LIST_PLACES = ("split.labelled", "split.unlabelled", "default_labelled")
"""Lists of images."""
