"""Small exports of annotation tools, written by hand in their formats.

Each has four images of 48x48 with a cat, rows and columns 8 to 23, and over it a dog, rows and columns 20 to 39; two
more images have no labels.
"""

import base64
import io
import itertools
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE, NAMES, EMPTY = 48, ("a", "b", "c", "d"), ("e", "f")
BOXES = {"cat": (8, 24), "dog": (20, 40)}
COLORS = {"cat": (200, 30, 40), "dog": (30, 60, 220)}


def truth() -> np.ndarray:
    """The mask of every labelled image: 0 background, 1 cat, 2 dog."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for value, (low, high) in enumerate(BOXES.values(), start=1):
        mask[low:high, low:high] = value
    return mask


def region(name: str) -> np.ndarray:
    """The whole square of a class, bool (H, W)."""
    low, high = BOXES[name]
    mask = np.zeros((SIZE, SIZE), bool)
    mask[low:high, low:high] = True
    return mask


def square(name: str) -> list[list[int]]:
    """The corners of a class's square."""
    low, high = BOXES[name]
    return [[low, low], [high, low], [high, high], [low, high]]


def flat(name: str, scale: float = 1) -> list[float]:
    """The corners in one list."""
    return [number * scale for point in square(name) for number in point]


def write_images(folder: Path, names: tuple[str, ...] = NAMES + EMPTY) -> None:
    """Write images, each another one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        image = np.random.default_rng(ord(name)).integers(0, 60, (SIZE, SIZE, 3), np.uint8)
        for part, color in COLORS.items():
            image[region(part)] = color
        assert cv2.imwrite(str(folder / f"{name}.png"), image[..., ::-1])


def write_json(path: Path, content: object) -> None:
    """Write a JSON file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def runs(flat_region: np.ndarray) -> list[int]:
    """Lengths of alternating runs, the first of zeros."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat_region.astype(int)])))
    edges = [0, *changes.tolist(), len(flat_region)]
    return [after - before for before, after in itertools.pairwise(edges)]


def coco_letters(counts: list[int]) -> str:
    """COCO's compressed code of runs."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            code, value = value & 31, value >> 5
            more = value != (-1 if code & 16 else 0)
            text += chr(48 + (code | (32 if more else 0)))
            if not more:
                break
    return text


def png(array: np.ndarray) -> bytes:
    """A gray PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def coco_content(file_name: str = "{}.png") -> dict:
    """COCO json: polygons for a and b, plain and compressed runs for c and d."""
    images = [
        {"id": place, "file_name": file_name.format(name), "height": SIZE, "width": SIZE}
        for place, name in enumerate(NAMES + EMPTY)
    ]
    annotations = []
    for image in range(len(NAMES)):
        for category, name in enumerate(BOXES, start=1):
            counts = runs(region(name).T.ravel())
            codes = [[flat(name)], [flat(name)], {"size": [SIZE, SIZE], "counts": counts}]
            codes.append({"size": [SIZE, SIZE], "counts": coco_letters(counts)})
            one = {"image_id": image, "category_id": category, "iscrowd": 0, "segmentation": codes[image]}
            annotations.append({"id": len(annotations), **one})
    categories = [{"id": place, "name": name} for place, name in enumerate(BOXES, start=1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def write_coco(root: Path) -> None:
    """Images beside `annotations/instances.json`."""
    write_images(root / "images")
    write_json(root / "annotations/instances.json", coco_content())


def write_roboflow_coco(root: Path) -> None:
    """Roboflow's COCO export, whose first category is the project."""
    content = coco_content()
    content["categories"] = [{"id": 0, "name": "pets", "supercategory": "none"}, *content["categories"]]
    write_images(root / "train")
    write_json(root / "train/_annotations.coco.json", content)


def write_labelme(root: Path) -> None:
    """A JSON file beside each image: a polygon, a rectangle or a mask."""
    write_images(root)
    for place, name in enumerate(NAMES):
        shapes = [{"label": part, "shape_type": "polygon", "points": square(part)} for part in BOXES]
        if place == 1:
            shapes[0] = {"label": "cat", "shape_type": "rectangle", "points": square("cat")[::2]}
        if place == 2:
            mask = base64.b64encode(png(np.full((16, 16), 255, np.uint8))).decode()
            shapes[0] = {"label": "cat", "shape_type": "mask", "points": [[8, 8], [23, 23]], "mask": mask}
        shapes.append({"label": "eye", "shape_type": "point", "points": [[3, 3]]} | {"label": "cat"})
        content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{name}.png", "imageData": None}
        write_json(root / f"{name}.json", content | {"imageHeight": SIZE, "imageWidth": SIZE})


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>cat</name><color>#c81e28</color></label><label><name>dog</name><color>#1e3cdc</color></label>
</labels></job></meta>{}</annotations>
"""


def write_cvat(root: Path) -> None:
    """CVAT for images: the dog stands first, but lies above by its z_order; the last image has masks."""
    write_images(root / "images")
    images = []
    for place, name in enumerate(NAMES + EMPTY):
        shapes = ""
        for order, part in ((1, "dog"), (0, "cat")):
            points = ";".join(f"{x}.0,{y}.0" for x, y in square(part))
            low, high = BOXES[part]
            code = f'<mask label="{part}" rle="0, {(high - low) ** 2}" left="{low}" top="{low}"'
            code += f' width="{high - low}" height="{high - low}" z_order="{order}"></mask>'
            shape = f'<polygon label="{part}" points="{points}" z_order="{order}"></polygon>'
            shapes += "" if name in EMPTY else code if place == 3 else shape
        images.append(f'<image id="{place}" name="{name}.png" width="{SIZE}" height="{SIZE}">{shapes}</image>')
    (root / "annotations.xml").write_text(CVAT.format("".join(images)))


def brush_code(mask: np.ndarray) -> list[int]:
    """Label Studio's code of a region: repeated values for runs, and one block of single values."""
    values = np.repeat(np.where(mask.ravel(), 255, 0).astype(np.uint8), 4)
    bits = f"{len(values):032b}{7:05b}{2:04b}{7:04b}{11:04b}{15:04b}"
    changes = np.flatnonzero(np.diff(values.astype(int))) + 1
    for part in np.split(values, changes):
        if len(part) == 64:
            bits += f"0{1:02b}{len(part) - 1:08b}" + "".join(f"{value:08b}" for value in part)
        else:
            bits += f"1{3:02b}{len(part) - 1:016b}{part[0]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def write_label_studio(root: Path) -> None:
    """Tasks with polygons or brushes; images as uploaded, with a prefix in the address."""
    write_images(root / "images")
    tasks = []
    for place, name in enumerate(NAMES + EMPTY):
        results = []
        for part in BOXES if name in NAMES else ():
            kind = "brushlabels" if place > 1 else "polygonlabels"
            points = [[100 * x / SIZE, 100 * y / SIZE] for x, y in square(part)]
            value = {"format": "rle", "rle": brush_code(region(part))} if place > 1 else {"points": points}
            one = {"id": f"r{part}", "type": kind, "value": value | {kind: [part]}, "image_rotation": 0}
            results.append(one | {"original_width": SIZE, "original_height": SIZE})
        annotations = [{"id": place, "result": results, "was_cancelled": False}] if results else []
        address = f"/data/upload/1/0123abcd-{name}.png"
        tasks.append({"id": place, "data": {"image": address}, "annotations": annotations, "predictions": []})
    write_json(root / "project.json", tasks)


def write_supervisely(root: Path) -> None:
    """A project with one data set: polygons and bitmaps."""
    write_images(root / "pets/img")
    classes = [{"title": name, "shape": "any", "color": "#" + bytes(COLORS[name]).hex()} for name in BOXES]
    write_json(root / "meta.json", {"classes": classes, "tags": []})
    for place, name in enumerate(NAMES + EMPTY):
        objects = []
        for part in BOXES if name in NAMES else ():
            low, high = BOXES[part]
            points = {"exterior": square(part), "interior": []}
            one = {"classTitle": part, "geometryType": "polygon", "points": points}
            if place > 1:
                data = base64.b64encode(zlib.compress(png(np.full((high - low, high - low), 255, np.uint8)))).decode()
                one = {"classTitle": part, "geometryType": "bitmap", "bitmap": {"data": data, "origin": [low, low]}}
            objects.append(one)
        content = {"size": {"height": SIZE, "width": SIZE}, "tags": [], "objects": objects}
        write_json(root / f"pets/ann/{name}.png.json", content)


def write_labelmap(root: Path) -> None:
    """CVAT's segmentation mask: colors and `labelmap.txt` in VOC's layout."""
    write_images(root / "JPEGImages")
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{name}:{','.join(map(str, color))}::" for name, color in COLORS.items()]
    (root / "labelmap.txt").write_text("\n".join(lines) + "\n")
    (root / "SegmentationClass").mkdir()
    table = np.array([(0, 0, 0), *COLORS.values()], np.uint8)
    for name in NAMES:
        Image.fromarray(table[truth()]).save(root / f"SegmentationClass/{name}.png")


def write_yolo(root: Path) -> None:
    """YOLO with data.yaml; the paths in it are those of another machine."""
    write_images(root / "train/images")
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    (root / "train/labels").mkdir()
    for name in NAMES:
        lines = [
            f"{place} {' '.join(f'{number:.6f}' for number in flat(part, 1 / SIZE))}"
            for place, part in enumerate(BOXES)
        ]
        (root / f"train/labels/{name}.txt").write_text("\n".join(lines) + "\n")


def write_roboflow_masks(root: Path) -> None:
    """Roboflow's masks beside the images."""
    write_images(root / "train")
    (root / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    for name in NAMES:
        Image.fromarray(truth()).save(root / f"train/{name}_mask.png")


WRITERS: dict[str, Callable[[Path], None]] = {
    "coco": write_coco,
    "roboflow_coco": write_roboflow_coco,
    "labelme": write_labelme,
    "cvat": write_cvat,
    "label_studio": write_label_studio,
    "supervisely": write_supervisely,
    "labelmap": write_labelmap,
    "yolo": write_yolo,
    "roboflow_masks": write_roboflow_masks,
}
