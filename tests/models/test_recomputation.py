"""Gradient checkpointing: the same results, and less in memory."""

import copy
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from dmtc.models import SegmentationModel, build_model, recompute_blocks

BACKBONES = {
    "tiny": {"name": "tiny", "width": 8},
    "resnet50": {"name": "resnet50", "output_stride": 8},
    "test_resnet": {"name": "timm", "arch": "test_resnet", "output_stride": 16},
    "mobilenetv3": {"name": "timm", "arch": "mobilenetv3_small_050", "output_stride": 16},
    "test_convnext": {"name": "timm", "arch": "test_convnext", "output_stride": 32},
    "pvt_v2_b0": {"name": "timm", "arch": "pvt_v2_b0", "output_stride": 32},
    "test_vit": {"name": "vit", "arch": "test_vit", "norm": True},
    "dinov3": {"name": "vit", "arch": "vit_tiny_patch16_dinov3_qkvb", "norm": True},
}
BLOCKS = {
    "mobilenetv3": 12,
    "tiny": 3,
    "resnet50": 16,
    "test_resnet": 4,
    "test_convnext": 9,
    "pvt_v2_b0": 8,
    "test_vit": 6,
    "dinov3": 12,
}


def make(backbone: dict[str, Any]) -> SegmentationModel:
    spec = {"name": "linear", "levels": None, "dropout": 0.1, "embedding_channels": 4, "backbone": backbone}
    return build_model(spec, num_classes=3, projection=True, seed=0)


def step(model: SegmentationModel) -> dict[str, torch.Tensor]:
    """Everything that a step leaves: logits, gradients, weights and statistics."""
    torch.manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    maps = model.maps(images)
    (maps.logits.square().mean() + maps.embedding.square().mean()).backward()
    gradients = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": maps.logits.detach()} | gradients | model.state_dict()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_step_with_it_is_the_same_to_the_last_bit(name: str) -> None:
    plain = make(BACKBONES[name])
    recomputing = copy.deepcopy(plain)
    assert recompute_blocks(recomputing.backbone) == BLOCKS[name]
    expected, actual = step(plain), step(recomputing)
    assert expected.keys() == actual.keys()
    for what, value in expected.items():
        assert torch.equal(actual[what], value), what
    # A second step begins with the statistics of the first.
    expected, actual = step(plain), step(recomputing)
    assert all(torch.equal(actual[what], value) for what, value in expected.items())


def test_batch_norm_counts_a_batch_once() -> None:
    model = make(BACKBONES["tiny"])
    recompute_blocks(model.backbone)
    step(model)
    assert model.backbone.blocks[0].bn1.num_batches_tracked == 1
    assert model.backbone.blocks[0].bn1.track_running_stats


def kept_bytes(model: SegmentationModel) -> int:
    """What autograd keeps outside of recomputed blocks; inside, its hooks are hidden from ours."""
    sizes = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        step(model)
    return sum(sizes)


def test_less_is_kept_and_more_is_computed() -> None:
    plain = make(BACKBONES["resnet50"])
    recomputing = copy.deepcopy(plain)
    recompute_blocks(recomputing.backbone)
    calls = []
    for model in (plain, recomputing):
        model.backbone.layer2[1].conv2.register_forward_hook(lambda module, given, out: calls.append(module))
    assert kept_bytes(recomputing) < 0.4 * kept_bytes(plain)
    assert calls.count(recomputing.backbone.layer2[1].conv2) == 2
    assert calls.count(plain.backbone.layer2[1].conv2) == 1


def test_without_gradients_nothing_is_computed_twice() -> None:
    model = make(BACKBONES["tiny"]).eval()
    expected = model(torch.zeros(1, 3, 16, 16))
    recompute_blocks(model.backbone)
    torch.testing.assert_close(model(torch.zeros(1, 3, 16, 16)), expected, rtol=0, atol=0)
    copied = copy.deepcopy(model)
    assert copied.backbone.blocks[0].forward._block is copied.backbone.blocks[0]
