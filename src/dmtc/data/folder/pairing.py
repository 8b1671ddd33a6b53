"""How names of images and masks belong together: two patterns, which the settings give."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dmtc.core.errors import ConfigError
from dmtc.data.part_names import part_of

Key = tuple[str, ...]
"""What the names of an image and its mask have in common: the folder, then what each wildcard stands for."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """What the names of an image and its mask are; they belong together if what the wildcards stand for is the same.

    Attributes:
        image: A pattern in which `*` stands for any text.
        mask: Likewise, with as many wildcards.

    Examples:
        >>> Pairing("*_sat", "*_mask").image_key("city/7_sat")
        ('city', '7')
        >>> Pairing("img_*", "*").image_key("Train/img_007", loose=True)
        ('train', '7')
    """

    image: str = "*"
    mask: str = "*"

    def image_key(self, id: str, loose: bool = False) -> Key | None:
        """What an image has in common with its mask; None if its name is not so.

        Args:
            id: Folder and name of the file, without suffix.
            loose: Names of parts are the same in any case and spelling, and numbers without their leading zeros.
        """
        return _key(self.image, id, loose)

    def mask_key(self, id: str, loose: bool = False) -> Key | None:
        """Likewise, of a mask."""
        return _key(self.mask, id, loose)

    def is_mask(self, id: str) -> bool:
        """Whether a file is rather a mask than an image, where both lie in one folder."""
        if self.mask_key(id) is None:
            return False
        return self.image_key(id) is None or len(self.mask) > len(self.image)

    @property
    def setting(self) -> str:
        """As it is typed in."""
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
    """What the settings say; equal names where they say nothing.

    Raises:
        ConfigError: The patterns are not two, have no or different wildcards, or do not fit the prefixes and suffixes.
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
    if not (says(pairing.image, affixes.image) and says(pairing.mask, affixes.mask)):
        raise ConfigError(
            f"dataset.pairing=[{image},{mask}] does not fit dataset.image_prefix, .image_suffix, .mask_prefix or"
            " .mask_suffix; give the one or the other"
        )
    return pairing


def says(pattern: str, less: str) -> bool:
    """Whether a pattern says all that another one does, which has a single wildcard."""
    head, _, tail = less.partition("*")
    return pattern.startswith(head) and pattern.endswith(tail)


def without_zeros(text: str) -> str:
    """A text whose numbers have no leading zeros."""
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
