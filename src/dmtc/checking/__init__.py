"""Checking a data set before training: every file is read as in training."""

from dmtc.checking.advice import advise
from dmtc.checking.gathering import Check, check_data
from dmtc.checking.summary import summary

__all__ = ["Check", "advise", "check_data", "summary"]
