"""Checking a data set before anything is trained on it: every file is read as training would read it."""

from dmtc.checking.advice import advise
from dmtc.checking.gathering import Check, check_data
from dmtc.checking.summary import summary

__all__ = ["Check", "advise", "check_data", "summary"]
