"""Converts a label ratio such as `1/8` to a number of images."""

import math
import re

from dmtc.core.errors import ConfigError

# The names of the two smallest published splits are rounded: 10582/105.82 and 2975/29.75 both give 100 images.
_PUBLISHED_DENOMINATORS = {(10582, 106.0): 105.82, (2975, 30.0): 29.75}

_FRACTION = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")
_FORMS = "write a ratio such as 1/8 or 0.125, a count such as 100, or full"


def parse_ratio(value: str | int | float, total: int) -> tuple[int | None, str]:
    """Parse a label ratio.

    Args:
        value: A fraction ("1/8"), a decimal (0.125), a whole number of images (100), or "full".
        total: Number of training images with masks.

    Returns:
        The number of labelled images, None for "full"; and the ratio as text, as it was written.

    Raises:
        ConfigError: The value is none of these, or means no image or more images than there are.

    Source:
        DMT's random splits: the number of images is rounded down, then raised by one if it leaves a remainder of 1 when
        divided by 8, so that no batch of eight ends in a single image, which batch normalization cannot use. The
        published names 1/106 (VOC) and 1/30 (Cityscapes) mean 100 images. A count is used unchanged.

    Examples:
        >>> parse_ratio("1/8", 10582), parse_ratio("1/106", 10582), parse_ratio(100, 2975)
        ((1322, '1/8'), (100, '1/106'), (100, '100'))
    """
    text = str(value).strip()
    if text == "full":
        return None, text
    if isinstance(value, bool):
        raise ConfigError(f"split.ratio={value} is not a label ratio; {_FORMS}")
    if text.isdecimal():
        count = int(text)
        if not 1 <= count <= total:
            raise ConfigError(f"split.ratio={text} asks for {text} labelled images, but {total} images have masks")
        return count, text
    denominator = _denominator(text, total)
    # The tolerance lets 1/105.82 written as a decimal still give 100 images.
    count = math.floor(total / denominator + 1e-6)
    if count < 1:
        raise ConfigError(f"split.ratio={text} of {total} images with masks leaves no labelled image; {_FORMS}")
    if count % 8 == 1 and count < total:
        count += 1
    return count, text


def _denominator(text: str, total: int) -> float:
    """One over the ratio, at least 1."""
    fraction = _FRACTION.fullmatch(text)
    try:
        share = float(fraction[1]) / float(fraction[2]) if fraction else float(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"split.ratio={text} is not a label ratio; {_FORMS}") from error
    if not 0 < share <= 1:
        raise ConfigError(f"split.ratio={text} is not between 0 and 1; {_FORMS}")
    if fraction and float(fraction[1]) == 1:
        denominator = float(fraction[2])
        return _PUBLISHED_DENOMINATORS.get((total, denominator), denominator)
    return 1 / share
