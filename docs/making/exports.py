"""Exports a head on a backbone of every family in every format, and writes the table of docs/export.md; no arguments.

Weights are fresh, with logits spread as those of trained networks are: what is shown is whether a file takes images of
any size, or of one alone, and sees what the network sees.
"""

import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
    "segformer tf_efficientnet_lite0",
    "linear dinov2_small",
    "dpt dinov2_small",
    "linear dinov3_small",
)
"""`model` and `model/backbone`."""
KINDS = ("onnx", "torchscript", "torch_export")
ONE_SIZE = (224, 320)
PATIENCE = 240
"""Seconds that an exporter may take for any size."""
TASK = Task(dataset="none", classes=("sky", "road", "car"), palette=np.eye(3, dtype=np.uint8) * 255)


def segmenter(case: str) -> Segmenter:
    """A network with fresh weights."""
    model, backbone = case.split()
    named = [f"model/backbone={backbone}"]
    if backbone == "tf_efficientnet_lite0":  # of experiment=your_data, and of timm's networks padded as TensorFlow does
        named = ["model/backbone=timm", f"model.backbone.arch={backbone}", "model.backbone.output_stride=32"]
    composed = dmtc.compose([f"model={model}", *named])
    spec: Any = OmegaConf.to_container(composed.model, resolve=True)
    network = build_model(spec, TASK.num_classes, projection=False, seed=0).eval()
    with torch.inference_mode():
        logits = network(torch.randint(0, 256, (1, 3, 64, 96), generator=torch.Generator().manual_seed(0)).byte())
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter *= 3 / logits.std()
    return Segmenter({"a": network}, {"task": TASK.to_json(), "networks": "a"})


def exported(case: str, kind: str, folder: Path, size: tuple[int, int] | None = None) -> Agreement:
    """Export a network for images of any size, or of one; an exporter's error if it refuses."""
    one = segmenter(case)
    module = ExportedModule({"a": one.model("a")}, probabilities=True)
    form = FORMATS.build({"name": kind})
    form.write(one, module, folder / form.file, size, 20)
    return compare(module, form.read(folder / form.file), size)


def cell(case: str, kind: str) -> str:
    """The largest difference for any size, or else for one; shown while the table is made."""
    reason = ""
    for size in (None, ONE_SIZE):
        signal.alarm(PATIENCE)
        with tempfile.TemporaryDirectory() as folder:
            try:
                agreement = exported(case, kind, Path(folder), size)
            except Exception as error:
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            else:
                reason = agreement.text()
                if agreement.is_close:
                    print(case, kind, reason, flush=True)
                    largest = agreement.largest_difference
                    return (f"{largest:.0e}" if largest else "0") + (" (one size)" if size else "")
            finally:
                signal.alarm(0)
        print(case, kind, reason, flush=True)
    return "no"


def out_of_patience(signum: int, frame: object) -> None:
    """An exporter that takes an architecture for any size apart for ever."""
    raise TimeoutError(f"more than {PATIENCE} s")


def table() -> str:
    """One network a row, one format a column."""
    lines = [["`model=`", "`model/backbone=`", *KINDS], ["---"] * (2 + len(KINDS))]
    for case in CASES:
        lines.append([*(f"`{part}`" for part in case.split()), *(cell(case, kind) for kind in KINDS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the part of the page between the marks anew."""
    signal.signal(signal.SIGALRM, out_of_patience)
    made = table()
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
