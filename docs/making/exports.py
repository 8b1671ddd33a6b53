"""Exports a head on a backbone of every family in every format, and writes the table of docs/export.md; no arguments.

Weights are fresh: what is shown is whether a file takes images of any size and sees what the network sees.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

import dmtc
from dmtc.data.task import Task
from dmtc.export import FORMATS, Segmenter
from dmtc.export.agreement import Agreement, compare
from dmtc.export.module import ExportedModule
from dmtc.models import build_model

PAGE = Path(__file__).parents[1] / "export.md"
BEGIN, END = "<!-- made by docs/making/exports.py -->", "<!-- end -->"
CASES = (
    "deeplabv2 resnet50",
    "deeplabv2 mobilenetv2",
    "deeplabv3plus resnet18",
    "deeplabv3plus mobilenetv3",
    "deeplabv3plus efficientnet",
    "upernet convnext_tiny",
    "upernet swin_tiny",
    "segformer mit_b0",
    "linear dinov2_small",
    "dpt dinov2_small",
    "linear dinov3_small",
)
"""`model` and `model/backbone`."""
KINDS = ("onnx", "torchscript", "torch_export")
TASK = Task(dataset="none", classes=("sky", "road", "car"), palette=np.eye(3, dtype=np.uint8) * 255)


def segmenter(case: str) -> Segmenter:
    """A network with fresh weights."""
    model, backbone = case.split()
    composed = dmtc.compose([f"model={model}", f"model/backbone={backbone}"])
    spec: Any = OmegaConf.to_container(composed.model, resolve=True)
    network = build_model(spec, TASK.num_classes, projection=False, seed=0)
    return Segmenter({"a": network}, {"task": TASK.to_json(), "networks": "a"})


def exported(case: str, kind: str, folder: Path) -> Agreement:
    """Export a network for images of any size; an exporter's error if it refuses."""
    one = segmenter(case)
    module = ExportedModule({"a": one.model("a")}, probabilities=True)
    form = FORMATS.build({"name": kind})
    form.write(one, module, folder / form.file, None, 20)
    return compare(module, form.read(folder / form.file), None)


def cell(case: str, kind: str) -> str:
    """The largest difference, or what went wrong; shown while the table is made."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            agreement = exported(case, kind, Path(folder))
        except Exception as error:
            print(case, kind, type(error).__name__, (str(error).splitlines() or [""])[0][:300], flush=True)
            return f"no ({type(error).__name__})"
    print(case, kind, agreement.text(), flush=True)
    return f"{agreement.largest_difference:.0e}" if agreement.is_close else "no (another result)"


def table() -> str:
    """One network a row, one format a column."""
    lines = [["`model=`", "`model/backbone=`", *KINDS], ["---"] * (2 + len(KINDS))]
    for case in CASES:
        lines.append([*(f"`{part}`" for part in case.split()), *(cell(case, kind) for kind in KINDS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the part of the page between the marks anew."""
    made = table()
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
