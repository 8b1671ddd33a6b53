"""Checking a data set before anything is trained on it: every file is read as training would read it."""

from dmtc.checking.gathering import Check, check_data
from dmtc.checking.summary import summary

__all__ = ["Check", "check_data", "summary"]
