"""Self-contained HTML pages: one file with its styles and images, in light and dark mode."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy.typing as npt

from dmtc.core.types import UInt8Array
from dmtc.report.chart_style import VARIABLES, variable_of

_TEMPLATES = Path(__file__).with_name("templates")


def page_of(template: str, content: Mapping[str, Any]) -> str:
    """Fill an HTML template.

    Args:
        template: Name of a file in `templates`.
        content: Its variables; everything except SVG elements is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["variable"] = variable_of
    light, dark = ("".join(f"--{name}:{pair[theme]};" for name, pair in VARIABLES.items()) for theme in (0, 1))
    style = template_text("page.css")
    return environment.get_template(template).render(style=style, light=light, dark=dark, **content)


def template_text(name: str) -> str:
    """The text of a file in `templates`."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def picture(image: UInt8Array, width: int, is_photo: bool) -> str:
    """An image uint8 (H, W, 3), RGB, as the source of an <img> element, at most `width` pixels wide."""
    shown: npt.NDArray[Any] = image
    if image.shape[1] > width:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if is_photo else cv2.INTER_NEAREST)
    kind, options = ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 85]) if is_photo else ("png", [cv2.IMWRITE_PNG_COMPRESSION, 9])
    coded, data = cv2.imencode(f".{kind}", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), options)
    assert coded
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def _percent(value: float | None, digits: int = 1, sign: bool = False) -> str:
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.{digits}f}"
