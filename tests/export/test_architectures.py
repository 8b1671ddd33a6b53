"""Architectures of many kinds through every format, for images of any size."""

import numpy as np
import pytest

from dmtc.data.task import Task
from dmtc.export import FORMATS, Segmenter
from dmtc.export.agreement import compare
from dmtc.export.module import ExportedModule
from dmtc.models import build_model

TASK = Task(dataset="camvid", classes=("sky", "road", "car"), palette=np.eye(3, dtype=np.uint8) * 255)
HEAD = {"name": "deeplabv2", "aspp_rates": [1, 2], "aspp_branches": 2, "embedding_channels": 8}
BACKBONES = {
    "resnet50": {"name": "resnet50", "output_stride": 16},
    "resnet18": {"name": "timm", "arch": "resnet18", "output_stride": 16},
    "mobilenetv2": {"name": "timm", "arch": "mobilenetv2_050", "output_stride": 16},
    "mobilenetv3": {"name": "timm", "arch": "mobilenetv3_small_050", "output_stride": 16},
    "efficientnet": {"name": "timm", "arch": "efficientnet_b0", "output_stride": 16},
    "convnext": {"name": "timm", "arch": "convnext_atto", "output_stride": 32},
}


def segmenter(backbone: dict) -> Segmenter:
    spec = HEAD | {"backbone": backbone}
    model = build_model(spec, TASK.num_classes, projection=False, seed=0)
    description = {"task": TASK.to_json(), "models": {"a": spec}, "networks": "a"}
    return Segmenter({"a": model}, description)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("format", ["onnx", "torchscript", "torch_export"])
def test_it_exports_for_any_size(backbone, format, tmp_path):
    one = segmenter(BACKBONES[backbone])
    module = ExportedModule({"a": one.model("a")}, probabilities=True)
    kind = FORMATS.build({"name": format})
    kind.write(one, module, tmp_path / kind.file, None, 20)
    agreement = compare(module, kind.read(tmp_path / kind.file), None)
    assert agreement.is_close, agreement.text()
