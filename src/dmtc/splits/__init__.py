"""Splits: which training images count as labelled. Importing this registers the rules."""

from dmtc.splits.ratio import parse_ratio
from dmtc.splits.rules import SPLITS, dmt_split
from dmtc.splits.split import Split, list_sha256

__all__ = ["SPLITS", "Split", "dmt_split", "list_sha256", "parse_ratio"]
