"""What a network consists of: a backbone, a classifier, and for a contrastive loss a projection head."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.errors import ConfigError
from dmtc.models.normalization import Normalization
from dmtc.registry import Registry, raise_faults
from dmtc.types import Maps


class Backbone(nn.Module):
    """Turns normalized images into one feature map. Subclass it and register the subclass in `BACKBONES`.

    `forward` takes float (B, 3, H, W), already normalized, and returns (B, channels, h, w) with h about H / stride.

    Attributes:
        channels: Channels of the feature map.
        stride: Pixels per cell of the feature map (the output stride).
        normalization: The rule of the weights; the model applies it before the backbone.
        weights_root: Beginning of the names under which published weights of this architecture lie in the state dict.
    """

    channels: int
    stride: int
    normalization: Normalization
    weights_root: str = ""

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """Download the ImageNet weights: tensors by published name, or None if there are none for this architecture."""
        return None


class SegmentationModel(nn.Module):
    """A backbone with a classifier and perhaps a projection head.

    Called with images it returns logits at the images' size, which is the whole interface for prediction. A training
    loop calls `maps` and gets logits and embedding at the output stride.

    Args:
        backbone: The feature extractor.
        classifier: From (B, channels, h, w) to (B, C, h, w).
        projection: From (B, channels, h, w) to (B, D, h, w), or None if no loss needs an embedding.
    """

    def __init__(self, backbone: Backbone, classifier: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.projection = projection

    @property
    def stride(self) -> int:
        """Pixels per cell of the maps."""
        return self.backbone.stride

    def maps(self, images: Tensor, embedding: bool | None = None) -> Maps:
        """Compute the maps at the output stride.

        Args:
            images: (B, 3, H, W) RGB; uint8, or float in [0, 1].
            embedding: Whether to compute the embedding. None means in training mode only: validation and labelling
                need none, and it is the costliest head.

        Returns:
            Logits (B, C, h, w), and the embedding (B, D, h, w) or None; at least float32 under mixed precision too, so
            that confidences near 1 stay apart. Gradients reach every parameter with `requires_grad`.
        """
        features = self.backbone(self.backbone.normalization(images))
        logits = _at_least_float32(self.classifier(features))
        wanted = self.training if embedding is None else embedding
        if self.projection is None or not wanted:
            return Maps(logits)
        return Maps(logits, _at_least_float32(self.projection(features)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C, H, W) for images (B, 3, H, W), uint8 or float in [0, 1]; enlarged with aligned corners."""
        logits = self.maps(images, embedding=False).logits
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=True)


BACKBONES: Registry[Backbone] = Registry("backbone")
"""The known backbones, as in `model.backbone`."""

MODELS: Registry[SegmentationModel] = Registry("model", runtime=("num_classes", "backbone", "projection"))
"""The known networks, as in `model`. The library passes `num_classes`, `backbone: Backbone` and `projection: bool`."""


def build_model(spec: Mapping[str, Any], num_classes: int, projection: bool, seed: int) -> SegmentationModel:
    """Build a network with fresh weights that depend on nothing but the specification and the seed.

    Args:
        spec: The `model` part of the config as a plain mapping: `name`, its options, `backbone`, and `weights` and
            `normalization`, which are left to `load_weights`.
        num_classes: Classes C to tell apart.
        projection: Whether a loss needs an embedding.
        seed: Seed of the fresh weights. The global random state is left as it was.

    Raises:
        ConfigError: A part of the specification is unknown, missing, of the wrong type, or impossible.

    Examples:
        >>> backbone = {"name": "tiny", "width": 8}
        >>> head = {"name": "deeplabv2", "aspp_rates": [1, 2], "aspp_branches": 2, "embedding_channels": 4}
        >>> model = build_model(head | {"backbone": backbone}, num_classes=3, projection=True, seed=0)
        >>> images = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
        >>> model(images).shape, model.maps(images).embedding.shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 4, 8, 12]))
    """
    backbone_spec = spec.get("backbone")
    if not isinstance(backbone_spec, Mapping):
        raise ConfigError(f"model.backbone should be a mapping with `name:`, but is {backbone_spec!r}")
    model_spec = {key: value for key, value in spec.items() if key not in ("backbone", "weights", "normalization")}
    raise_faults(MODELS.faults(model_spec, "model") + BACKBONES.faults(backbone_spec, "model.backbone"))
    # Weights are made on the CPU whatever the device, so a CPU and a GPU run start alike, and no other random state
    # needs keeping.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = BACKBONES.build(backbone_spec, where="model.backbone")
        return MODELS.build(
            model_spec, where="model", num_classes=num_classes, backbone=backbone, projection=projection
        )


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
