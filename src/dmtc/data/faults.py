"""Kinds of faults in data set files, so that many of them can be reported together."""

from collections.abc import Mapping

from dmtc.core.errors import DataError

UNREADABLE_IMAGE = "unreadable image"
CUT_OFF_IMAGE = "image that is cut off"
UNREADABLE_MASK = "unreadable mask"
MASK_CHANNELS = "mask with several channels"
UNKNOWN_VALUE = "unknown mask value"
UNLISTED_COLOR = "unlisted mask color"
IMAGE_VALUES = "image whose values or bands need a setting"
TOO_LARGE = "file that is too large"
OTHER_SIZE = "mask of another size than its image"


class FileFault(DataError):
    """A file of a data set cannot be used.

    Args:
        message: What is wrong, where, and what to do, on one line.
        kind: One of the kinds above. It and `counts` have defaults only because unpickling passes just the message.
        counts: Number of pixels for each unknown value or color.
    """

    def __init__(self, message: str, kind: str = "", counts: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.counts = dict(counts or {})
