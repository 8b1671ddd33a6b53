"""What can be wrong with a file, a folder or an option: each a small change, drawn at random."""

import copy
import io
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

NAMES = [
    "-x",
    "a b",
    "ä" * 70,
    "x" * 230,
    "道" * 80,
    "tab\tname",
    "line\nbreak",
    "p.q.r",
    "#1",
    "a=b",
    "~",
    "${oc.env:HOME}",
]
NAMES += [
    "q'uote",
    'q"uote',
    "[1]",
    "{a:b}",
    "*",
    "a,b",
    "(1)",
    "$x",
    "null",
    "nan",
    "..",
    "COM1",
    b"\xff\xfe".decode(errors="surrogateescape"),
]
VALUES: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    0.5,
    -0.5,
    1e-9,
    float("nan"),
    float("inf"),
    "",
    "x",
    "a",
    "ab",
    "auto",
]
VALUES += [
    "null",
    "1/8",
    "0/0",
    "1/0",
    "full",
    "100",
    [],
    {},
    [1],
    [0, 0],
    [None],
    ["a"],
    [[1, 2], [3]],
    {"a": 1},
    {"name": "x"},
]
VALUES += [
    "${seed}",
    "${nowhere}",
    "$HOME",
    "../..",
    "/",
    ".",
    "~",
    "é\u200b",
    "a\nb",
    "\0",
    "x" * 300,
    "1e999",
    "0x10",
    "!!int 3",
]
TYPED = [
    "null",
    "true",
    "-1",
    "0",
    "1",
    "2",
    "3",
    "0.5",
    "-0.5",
    "nan",
    "inf",
    "1e-9",
    "",
    "''",
    "x",
    "a",
    "ab",
    "auto",
    "1/8",
    "0/0",
]
TYPED += [
    "[]",
    "{}",
    "[1]",
    "[0,0]",
    "[8,8]",
    "[a]",
    "[[1,2],[3]]",
    "{a: 1}",
    "{name: x}",
    "${seed}",
    "${nowhere}",
    "${oc.env:HOME}",
]
TYPED += [
    "$HOME",
    "..",
    ".",
    "~",
    "é",
    "[1,2",
    "{a",
    "'open",
    '"',
    "\\",
    "a=b",
    "a,b",
    "1,2",
    "(",
    ")",
    "#",
    "x" * 300,
    "1e999",
    "0x10",
]
TEXT = [
    "\t",
    "\n",
    "\r",
    "\0",
    "\ufeff",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "!!python/object:os.system ",
    "&a ",
    "*a ",
    "${seed}",
    "$",
    "'",
]
TEXT += [
    '"',
    "null",
    "NaN",
    "-1",
    "1e999",
    "# ",
    "---\n",
    "...\n",
    "%",
    "|",
    ">",
    "..",
    "/",
    "\u2028",
    "é",
    "255",
    "*" * 99,
]


def damaged(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Do something to a file or folder, and tell what."""
    if path.is_symlink() or not (path.is_dir() or path.is_file()):
        actions: list[Action] = [gone]  # damaged already
    else:
        actions = _OF_FOLDERS if path.is_dir() else [*_OF_FILES, *_of_kind(path) * 3]
    action = chance.choice(actions)
    if told := action(path, chance, others):
        return f"{path}: {told}"
    return f"{path}: nothing ({action.__name__})"


Action = Callable[[Path, random.Random, list[Path]], str | None]


def _of_kind(path: Path) -> list[Action]:
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl"):
        return [text, json_value, json_value]
    if suffix in (".yaml", ".yml"):
        return [text, yaml_value, yaml_value]
    if suffix in (".txt", ".csv", ".md"):
        return [text, lines, lines]
    if suffix in (".png", ".jpg", ".tif"):
        return [picture, picture]
    return [flip, cut]


def flip(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Other bytes in place of some."""
    content = bytearray(path.read_bytes())
    count = chance.choice([1, 1, 20, 4000])
    for _ in range(count if content else 0):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"{count} bytes flipped"


def cut(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Only the beginning."""
    content = path.read_bytes()
    length = chance.choice([0, 1, len(content) // 2, max(len(content) - 1, 0)])
    path.write_bytes(content[:length])
    return f"cut off after {length} bytes"


def longer(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Something behind its end."""
    with path.open("ab") as file:
        file.write(chance.choice([b"\0", b"\n\n}", chance.randbytes(100)]))
    return "longer"


def noise(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Random bytes."""
    path.write_bytes(chance.randbytes(chance.choice([1, 100, 10_000])))
    return "random bytes"


def another(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """The content of another file."""
    files = [other for other in others if other.is_file()]
    if not files:
        return None
    other = chance.choice(files)
    if other.samefile(path):  # by a link, or under another name
        return None
    shutil.copyfile(other, path)
    return f"the content of {other}"


def gone(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Deleted."""
    _remove(path)
    return "deleted"


def of_another_type(path: Path, chance: random.Random, others: list[Path]) -> str:
    """What is no regular file in its place."""
    _remove(path)
    kind = chance.choice(
        ["folder", "full folder", "pipe", "socket", "zero", "null", "nothing", "itself", "foreign", "loop"]
    )
    if kind.endswith("folder"):
        path.mkdir()
        if kind == "full folder":
            (path / "notes.txt").write_text("mine")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # their paths are short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name[-90:])
        os.chdir(here)
    elif kind == "loop":
        path.mkdir()
        (path / "again").symlink_to(path.absolute())
    else:
        targets = {"zero": "/dev/zero", "null": "/dev/null", "nothing": "nowhere", "itself": path.name}
        path.symlink_to(targets.get(kind, Path("elsewhere/secret.txt").absolute()))
    return f"now a {kind}"


def renamed(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """Another name, with the same suffix or another one."""
    suffix = chance.choice([path.suffix, path.suffix.upper(), ".png", ".txt", ""])
    target = path.with_name(chance.choice(NAMES)[: 250 - len(suffix)] + suffix)
    try:
        if target.exists():
            return None
        chance.choice([path.rename, lambda target: shutil.copyfile(path, target)])(target)
    except OSError:
        return None
    return f"named {target.name!r}"


def text(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Some letters put in, left out or doubled."""
    content = path.read_text(errors="surrogateescape")
    start = chance.randrange(len(content) + 1)
    piece = content[start : start + chance.choice([1, 5, 50])]
    new = chance.choice([chance.choice(TEXT), chance.choice(TEXT) * 3, "", piece * 2])
    path.write_text(
        content[:start] + new + content[start + len(piece) * chance.randrange(2) :], errors="surrogateescape"
    )
    return f"{new[:20]!r} at {start}"


def lines(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Lines in another order, doubled, left out, or of another encoding."""
    content = path.read_text(errors="surrogateescape").splitlines()
    what = chance.choice(["shuffled", "doubled", "shorter", "utf-16", "bom", "crlf", "new", "suffix", "empty lines"])
    if what == "shuffled":
        chance.shuffle(content)
    elif what == "doubled":
        content *= 2
    elif what == "shorter":
        content = content[: len(content) // 2]
    elif what == "new":
        content.insert(chance.randrange(len(content) + 1), chance.choice([*NAMES, "a b c", "../x", "/x", "p00"]))
    elif what == "suffix":
        content = [line + chance.choice([".png", " ", "\t", ",1"]) for line in content]
    elif what == "empty lines":
        content = [part for line in content for part in (line, "", "  ")]
    joined = ("\r\n" if what == "crlf" else "\n").join(content)
    encoding = {"utf-16": "utf-16", "bom": "utf-8-sig"}.get(what, "utf-8")
    path.write_bytes(joined.encode(encoding, "surrogateescape" if encoding == "utf-8" else "replace"))
    return what


def json_value(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """A valid file with another value somewhere."""
    content = (
        path.read_text(errors="replace").splitlines() if path.suffix == ".jsonl" else [path.read_text(errors="replace")]
    )
    if not content:
        return None
    index = chance.randrange(len(content))
    try:
        value, told = _changed(json.loads(content[index]), chance)
    except ValueError:
        return None
    content[index] = json.dumps(value)
    path.write_text("\n".join(content) + "\n")
    return told


def yaml_value(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """A valid file with another value somewhere."""
    try:
        value, told = _changed(yaml.safe_load(path.read_text(errors="replace")), chance)
        text = yaml.safe_dump(value, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):  # the other way to be damaged, or too deep to be written
        return None
    path.write_text(text, errors="surrogateescape")
    return told


def picture(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """The same size or another one, of another kind of pixels."""
    kinds = ["L", "LA", "P", "1", "I;16", "I", "F", "CMYK", "RGBA", "RGB", "YCbCr"]
    kind, form = chance.choice(kinds), chance.choice(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"])
    height, width = chance.choice([(32, 32), (1, 1), (3, 200), (31, 33), (48, 48)])
    values = np.random.default_rng(chance.randrange(1000)).integers(0, chance.choice([2, 6, 256]), (height, width, 3))
    image = Image.fromarray(values.astype(np.uint8))
    if kind in ("I;16", "I", "F"):
        types = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        image = Image.fromarray(
            (values[..., 0] * chance.choice([1, 200, -1 if kind != "I;16" else 1])).astype(types[kind])
        )
    else:
        image = image.convert(kind)
    written = io.BytesIO()
    try:
        image.save(written, form)
    except (OSError, ValueError, KeyError):
        return None
    content = bytearray(written.getvalue())
    told = f"{kind} {form} {height}x{width}"
    if form == "PNG" and chance.random() < 0.1:  # a size that is far from true
        content[16:24] = (60_000).to_bytes(4, "big") * 2
        told += ", its header says 60000x60000"
    path.write_bytes(content)
    return told


def empty_folder(path: Path, chance: random.Random, others: list[Path]) -> str:
    """Nothing in it any more."""
    for inner in list(path.iterdir()):
        _remove(inner)
    return "emptied"


def more_in_it(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """Something that does not belong there."""
    name = chance.choice(
        [*NAMES, ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir", "._p00.png", "p00.JPG", "p00.gif", "x.svg"]
    )
    target = path / name[:240]
    try:
        if os.path.lexists(target):
            return None
        chance.choice([lambda: target.write_bytes(chance.randbytes(50)), target.mkdir, lambda: os.mkfifo(target)])()
    except OSError:
        return None
    return f"with {name[:40]!r}"


def linked(path: Path, chance: random.Random, others: list[Path]) -> str | None:
    """A link to where it is now."""
    target = path.with_name(f"{path.name}-moved")
    if target.exists():
        return None
    path.rename(target)
    path.symlink_to(target.name)
    return "a link"


_OF_FILES: list[Action] = [flip, cut, longer, noise, another, gone, of_another_type, of_another_type, renamed]
_OF_FOLDERS: list[Action] = [gone, of_another_type, empty_folder, more_in_it, more_in_it, linked]


def _changed(value: Any, chance: random.Random) -> tuple[Any, str]:
    """A tree of values with one of them changed, and what was done."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any, str]] = []

    def visit(node: Any, way: str) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in items:
            places.append((node, key, f"{way}.{key}"))
            visit(inner, f"{way}.{key}")

    visit(value, "")
    if not places or chance.random() < 0.05:
        return chance.choice(VALUES), "all of it another value"
    node, key, way = chance.choice(places)
    what = chance.random()
    if what < 0.25:
        node.pop(key)
        return value, f"{way} left out"
    if what < 0.3:
        deep: Any = 1
        for _ in range(900):
            deep = [deep]
        node[key] = deep
        return value, f"{way} nested deeply"
    if what < 0.4 and isinstance(node, dict):
        node[chance.choice(["x", "name", 3, "", "é"])] = node.pop(key)
        return value, f"{way} under another key"
    node[key] = chance.choice([*VALUES, copy.deepcopy(chance.choice(places)[0])])
    return value, f"{way} is {str(node[key])[:40]!r}"


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
