"""Tables of classes in several folders have to agree."""

from pathlib import Path

import pytest

from dmtc.core.errors import DataError
from dmtc.data.folder.class_tables import class_table
from dmtc.data.folder.label_maps import label_map


def folders(tmp_path: Path, name: str, *texts: str) -> list[Path]:
    made = []
    for number, text in enumerate(texts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text(text, "utf-8")
        made.append(folder)
    return made


TABLE = "Pixel Value, Class\n0, background\n{}, leaf\n"
COLORS = "background:0,0,0::\nleaf:{},0,0::\n"


@pytest.mark.parametrize(
    ("read", "name", "text"), [(class_table, "_classes.csv", TABLE), (label_map, "labelmap.txt", COLORS)]
)
def test_equal_tables_are_one_and_others_are_refused(tmp_path, read, name, text):
    assert read([tmp_path]) is None
    same = read(folders(tmp_path, name, text.format(1), text.format(1)))
    assert same is not None
    assert same.names == ("background", "leaf")
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_text(text.format(2), "utf-8")
    with pytest.raises(DataError, match=r"has other classes than .*; make them equal, or name all classes"):
        read([tmp_path / "0", other])
