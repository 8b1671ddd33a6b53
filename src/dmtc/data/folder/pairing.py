"""How names of images and masks correspond: two patterns, given by the settings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dmtc.core.errors import ConfigError
from dmtc.data.part_names import part_of

Key = tuple[str, ...]
"""What the names of an image and its mask share: the folder, then the match of each wildcard."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Name patterns of an image and its mask; the two correspond if their wildcards match the same text.

    Attributes:
        image: A pattern in which `*` matches any text.
        mask: The same for masks, with as many wildcards.

    Examples:
        >>> Pairing("*_sat", "*_mask").image_key("city/7_sat")
        ('city', '7')
        >>> Pairing("img_*", "*").image_key("Train/img_007", loose=True)
        ('train', '7')
    """

    image: str = "*"
    mask: str = "*"

    def image_key(self, id: str, loose: bool = False) -> Key | None:
        """The key that an image shares with its mask; None if its name does not match the pattern.

        Args:
            id: Folder and name of the file, without suffix.
            loose: Ignore case and spelling of part names, and leading zeros of numbers.
        """
        return _key(self.image, id, loose)

    def mask_key(self, id: str, loose: bool = False) -> Key | None:
        """The same for a mask."""
        return _key(self.mask, id, loose)

    def is_mask(self, id: str) -> bool:
        """Whether a file in a folder of images and masks is a mask."""
        if self.mask_key(id) is None:
            return False
        return self.image_key(id) is None or len(self.mask) > len(self.image)

    @property
    def setting(self) -> str:
        """The settings to type for this pairing."""
        if self.image.count("*") > 1:
            return f"dataset.pairing=[{self.image},{self.mask}]"
        pieces = []
        for name, pattern in (("image", self.image), ("mask", self.mask)):
            prefix, _, suffix = pattern.partition("*")
            pieces += [f"dataset.{name}_prefix={prefix}"] if prefix else []
            pieces += [f"dataset.{name}_suffix={suffix}"] if suffix else []
        return " ".join(pieces) or "dataset.pairing=[*,*]"


def given_pairing(
    patterns: Sequence[str] | None, image_prefix: str, image_suffix: str, mask_prefix: str, mask_suffix: str
) -> Pairing:
    """The pairing from the settings; equal names by default.

    Raises:
        ConfigError: There are not two patterns, they have no or differing numbers of wildcards, or they contradict the
            prefixes and suffixes.
    """
    affixes = Pairing(f"{image_prefix}*{image_suffix}", f"{mask_prefix}*{mask_suffix}")
    for name, text in (("image", affixes.image), ("mask", affixes.mask)):
        if "/" in text or text.count("*") > 1:
            raise ConfigError(f"dataset.{name}_prefix and .{name}_suffix are pieces of a file's name, without / and *")
    if patterns is None:
        return affixes
    wanted = "dataset.pairing should be two patterns, of an image's name and its mask's, such as [*_sat,*_mask]"
    if len(patterns) != 2:
        raise ConfigError(f"{wanted}, but is {list(patterns)}")
    image, mask = patterns
    count = image.count("*")
    odd = any(part in pattern for pattern in (image, mask) for part in ("**", "/"))
    if not count or count != mask.count("*") or odd:
        raise ConfigError(
            f"{wanted}: each with as many *, not side by side, and without folders; but is {list(patterns)}"
        )
    pairing = Pairing(image, mask)
    if not (implies(pairing.image, affixes.image) and implies(pairing.mask, affixes.mask)):
        raise ConfigError(
            f"dataset.pairing=[{image},{mask}] does not fit dataset.image_prefix, .image_suffix, .mask_prefix or"
            " .mask_suffix; give the one or the other"
        )
    return pairing


def implies(pattern: str, less: str) -> bool:
    """Whether a pattern implies another one, `less`, which has a single wildcard."""
    head, _, tail = less.partition("*")
    return pattern.startswith(head) and pattern.endswith(tail)


def without_zeros(text: str) -> str:
    """Remove leading zeros from all numbers in a text."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def _key(pattern: str, id: str, loose: bool) -> Key | None:
    folder, _, name = id.rpartition("/")
    found = _expression(pattern).fullmatch(name)
    if found is None:
        return None
    if not loose:
        return folder, *found.groups()
    folders = [part_of(one) or without_zeros(one) for one in folder.split("/")]
    return "/".join(folders), *map(without_zeros, found.groups())


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile("(.+?)".join(map(re.escape, pattern.split("*"))), re.DOTALL)
