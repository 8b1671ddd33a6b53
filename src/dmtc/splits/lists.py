"""Image lists in the layouts of published papers."""

from collections.abc import Collection
from pathlib import Path

from dmtc.data.lists import read_ids


def read_list(path: Path, known: Collection[str]) -> tuple[str, ...]:
    """Read a list of training images with `dmtc.data.lists.read_ids`.

    Args:
        path: A text file with one image per line, in the layout of DMT, UniMatch, ST++, CPS or U2PL.
        known: Every id that may be listed.

    Returns:
        The ids, in the order of the file.

    Raises:
        DataError: The file cannot be read or is empty, an entry matches none or several of the known ids, or an image
            is listed twice.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "labeled.txt"
        >>> _ = path.write_text("JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png")
        >>> read_list(path, known={"2007_000032", "2007_000039"})
        ('2007_000032',)
    """
    return read_ids(path, known, "training image")
