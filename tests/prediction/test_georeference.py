"""Masks of GeoTIFFs lie where their image lies."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from dmtc.data.georeference import TAGS, georeference_of
from dmtc.data.masks import IndexMasks

SCALE = (33550, "d", 3, (0.5, 0.5, 0.0))
TIE = (33922, "d", 6, (0.0, 0.0, 0.0, 400000.0, 5600000.0, 0.0))
KEYS = (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 25832))
NAMES = (34737, "s", 0, "ETRS89 / UTM zone 32N|")
MATRIX = (34264, "d", 16, tuple(map(float, range(16))))


def tags_of(path) -> dict:
    with tifffile.TiffFile(path) as file:
        return {tag.code: (tag.dtype, tag.value) for tag in file.pages.first.tags if tag.code in TAGS}


def write(path, *tags, **given) -> np.ndarray:
    image = np.random.default_rng(len(tags)).integers(0, 255, (40, 48, 3), np.uint8)
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, image, photometric="rgb", extratags=[(*tag, True) for tag in tags], **given)
    return image


def test_masks_of_geotiffs_keep_their_georeference(command, finished, tmp_path):
    image = write(tmp_path / "maps/geo.tif", SCALE, TIE, KEYS, NAMES)
    write(tmp_path / "maps/big.TIFF", MATRIX, byteorder=">", bigtiff=True)
    write(tmp_path / "maps/plain.tif")
    run = f"run={finished.folder.path}"
    kinds = "job.write=[index,palette,overlay,confidence]"
    code, out, err = command("job=predict", run, "input=maps", "output=out", kinds, small_run=False)
    assert code == 0, out + err
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*")}
    masks = {
        f"{kind}/{name}" for kind in ("index", "palette", "confidence") for name in ("geo.tif", "big.tif", "plain.png")
    }
    assert written == masks | {f"overlay/{name}.jpg" for name in ("geo", "big", "plain")}
    for kind in ("index", "palette", "confidence"):
        for name, original in (("geo", "geo.tif"), ("big", "big.TIFF")):
            tags = tags_of(tmp_path / f"out/{kind}/{name}.tif")
            assert tags == tags_of(tmp_path / "maps" / original)
            assert tags
    label = finished.predict(image)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out/index/geo.tif"), label)
    with Image.open(tmp_path / "out/palette/geo.tif") as colored:
        np.testing.assert_array_equal(np.asarray(colored.convert("RGB")), finished.task.color_table[label])
    code, _, err = command("job=predict", run, "input=maps", "output=out", kinds, "job.existing=skip", small_run=False)
    assert code == 0, err


def test_pseudo_labels_of_geotiffs_are_read_like_other_masks(command, finished, tmp_path):
    image = write(tmp_path / "maps/geo.tif", SCALE, TIE)
    given = (f"run={finished.folder.path}", "input=maps", "output=out", "job.threshold=0", "job.format=coco")
    code, out, err = command("job=label", *given, small_run=False)
    assert code == 0, out + err
    np.testing.assert_array_equal(IndexMasks()(tmp_path / "out/masks/geo.tif"), finished.predict(image))
    assert tags_of(tmp_path / "out/masks/geo.tif") == tags_of(tmp_path / "maps/geo.tif")


@pytest.mark.parametrize(
    ("tags", "given"),
    [((), {}), ((KEYS, NAMES), {}), ((SCALE, TIE, (274, "H", 1, 6)), {})],
    ids=["none", "no place", "turned"],
)
def test_what_does_not_say_where_its_pixels_lie_has_no_georeference(tmp_path, tags, given):
    write(tmp_path / "maps/one.tif", *tags, **given)
    assert georeference_of(tmp_path / "maps/one.tif") is None
    (tmp_path / "cut.tif").write_bytes((tmp_path / "maps/one.tif").read_bytes()[:20])
    assert georeference_of(tmp_path / "cut.tif") is None
    assert georeference_of(tmp_path / "missing.tif") is None
