"""The network behind the golden files: the published architecture with the weights that the files' rule makes."""

import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dmtc.models import SegmentationModel, build_model, load_weights
from dmtc.models.weights import starting

GOLDEN = Path(__file__).parents[1] / "golden"


def published_state() -> dict[str, Tensor]:
    """Weights by the rule of the golden files, under the published names."""
    state = {}
    for i, (name, shape) in enumerate(json.loads((GOLDEN / "deeplabv2_contrastive_keys.json").read_text())):
        if len(shape) > 1:
            gain = 2 if name.startswith("backbone.") else 1
            draw = np.random.default_rng(1000 + i).standard_normal(prod(shape)) * np.sqrt(gain / prod(shape[1:]))
            state[name] = torch.from_numpy(draw.astype(np.float32).reshape(shape))
        elif name.endswith("weight"):
            state[name] = torch.full(shape, 0.3 if ".bn3." in name else 1.0)
        else:
            state[name] = torch.full(shape, float(name.endswith("running_var")))
    return state


def published_model() -> SegmentationModel:
    spec = {
        "name": "deeplabv2",
        "aspp_rates": [6, 12, 18, 24],
        "aspp_branches": 2,
        "embedding_channels": 150,
        "backbone": {"name": "resnet101", "output_stride": 8},
    }
    model = build_model(spec, num_classes=21, projection=True, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "read_weights", lambda path: published_state())
        patch.setattr(starting, "sha256_of", lambda path: None)
        report = load_weights(model, "published.pt")
    assert report.complete
    assert not report.unexpected
    assert len(report.matched) == 640
    # The golden images are normalized already.
    model.backbone.normalization.mean.zero_()
    model.backbone.normalization.std.fill_(1)
    return model
