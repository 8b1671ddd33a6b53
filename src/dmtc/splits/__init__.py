"""Splits: which training images count as labelled. Importing this package registers the rules."""

from dmtc.data.lists import read_ids
from dmtc.splits.published import describe_published, published_sources, published_splits, set_sha256
from dmtc.splits.ratio import parse_ratio
from dmtc.splits.rules import SPLITS, dmt_split
from dmtc.splits.split import Split, list_sha256

__all__ = [
    "SPLITS",
    "Split",
    "describe_published",
    "dmt_split",
    "list_sha256",
    "parse_ratio",
    "published_sources",
    "published_splits",
    "read_ids",
    "set_sha256",
]
