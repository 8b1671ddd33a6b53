"""What a network consists of: a backbone, a decoder, a classifier, and for a contrastive loss a projection head."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry, raise_faults
from dmtc.core.types import Maps
from dmtc.models.normalization import Normalization
from dmtc.models.tuning import TUNINGS, Group, Tuning


class Level(NamedTuple):
    """One feature map that a backbone can give.

    Attributes:
        channels: Of the map.
        stride: Pixels per cell.
    """

    channels: int
    stride: int


class Backbone(nn.Module):
    """Turns normalized images into feature maps. Subclass it and register the subclass in `BACKBONES`.

    `forward` takes float (B, 3, H, W), already normalized, and returns the deepest map, (B, channels, h, w) with h
    about H / stride. That, `channels`, `stride` and `normalization` are all that a subclass needs; one with several
    maps also has `levels` and `features`. If its constructor takes `every_level`, it is told whether the head wants
    more than the deepest map.

    Attributes:
        channels: Channels of the deepest map.
        stride: Pixels per cell of the deepest map (the output stride).
        normalization: The rule of the weights; the model applies it before the backbone.
        multiple: Images come with a height and a width that are multiples of this; others are enlarged to the next.
        weights_root: Beginning of the names under which published weights of this architecture lie in the state dict.
    """

    channels: int
    stride: int
    normalization: Normalization
    multiple: int = 1
    weights_root: str = ""

    @property
    def levels(self) -> Sequence[Level]:
        """The maps that `features` can give, nearest the image first, the deepest last."""
        return (Level(self.channels, self.stride),)

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Compute several maps in one pass.

        Args:
            images: Float (B, 3, H, W), normalized.
            levels: Indices into `levels`, ascending; the last is the deepest.

        Returns:
            For each of them (B, channels, h, w), with its level's channels and about H / stride rows.
        """
        assert list(levels) == [len(self.levels) - 1], "a backbone with several levels has its own `features`"
        return [self(images)]

    def depths(self) -> dict[str, int]:
        """The layer of each parameter by its name, 0 nearest the image; for rates that fall from layer to layer."""
        return {name: 0 for name, _ in self.named_parameters()}

    def undecayed(self) -> set[str]:
        """Names of parameters beside vectors that weight decay should leave alone, such as position embeddings."""
        return set()

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """Download the published weights: tensors by published name, or None if the architecture has none."""
        return None

    def converted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Weights of a file in the names and shapes of this architecture; None if it knows no other layout."""
        return None


class SegmentationModel(nn.Module):
    """A backbone with a decoder, a classifier and perhaps a projection head.

    Called with images it returns logits at the images' size, which is the whole interface for prediction. A training
    loop calls `maps` and gets logits and embedding at the decoder's resolution.

    Args:
        backbone: The feature extractor.
        classifier: From what the decoder returns, (B, channels, h, w), to (B, C, h, w).
        projection: From the same to (B, D, h, w), or None if no loss needs an embedding.
        decoder: From the list of the chosen levels' maps to one map; None hands on the deepest.
        levels: Indices into `backbone.levels` of the maps that the decoder wants; None is the deepest alone.
        stride: Pixels per cell of what the decoder returns; None is the backbone's.

    Attributes:
        every_level: Of a subclass: whether it wants more of its backbone than the deepest map.
        tuning: How the weights are trained.
    """

    every_level: ClassVar[bool] = False
    tuning: Tuning

    def __init__(
        self,
        backbone: Backbone,
        classifier: nn.Module,
        projection: nn.Module | None,
        decoder: nn.Module | None = None,
        levels: Sequence[int] | None = None,
        stride: float | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.projection = projection
        self.decoder = decoder
        self.levels = None if levels is None else tuple(levels)
        self.stride = backbone.stride if stride is None else stride
        self.tuning = Tuning()

    def maps(self, images: Tensor, embedding: bool | None = None) -> Maps:
        """Compute the maps at the decoder's resolution.

        Args:
            images: (B, 3, H, W) RGB; uint8, or float in [0, 1].
            embedding: Whether to compute the embedding. None means in training mode only: validation and labelling
                need none, and it is the costliest head.

        Returns:
            Logits (B, C, h, w), and the embedding (B, D, h, w) or None; at least float32 under mixed precision too, so
            that confidences near 1 stay apart. Gradients reach every parameter with `requires_grad`.
        """
        features = self._features(self.backbone.normalization(images))
        logits = _at_least_float32(self.classifier(features))
        wanted = self.training if embedding is None else embedding
        if self.projection is None or not wanted:
            return Maps(logits)
        return Maps(logits, _at_least_float32(self.projection(features)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C, H, W) for images (B, 3, H, W), uint8 or float in [0, 1]; enlarged with aligned corners."""
        logits = self.maps(images, embedding=False).logits
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=True)

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Choose training or evaluation mode; a frozen backbone stays in the latter, so its statistics stay too."""
        super().train(mode)
        if self.tuning.freezes_backbone:
            self.backbone.eval()
        return self

    def parameter_groups(self) -> list[nn.Parameter] | list[Group]:
        """What is trained: parameters, or groups of them with `lr_scale`, a factor of the learning rate."""
        return self.tuning.groups(self)

    def _features(self, images: Tensor) -> Tensor:
        # Enlarged and not padded: a map whose last cells lie beyond the image would be stretched over the image.
        multiple = self.backbone.multiple
        if multiple > 1:
            # Not by the floor of a negative number, which exporters of graphs get wrong.
            height, width = ((extent + multiple - 1) // multiple * multiple for extent in images.shape[-2:])
            images = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=True)
        if self.tuning.freezes_backbone:
            with torch.no_grad():
                levels = self._levels_of(images)
        else:
            levels = self._levels_of(images)
        return levels[-1] if self.decoder is None else self.decoder(levels)

    def _levels_of(self, images: Tensor) -> list[Tensor]:
        return [self.backbone(images)] if self.levels is None else self.backbone.features(images, self.levels)


BACKBONES: Registry[Backbone] = Registry("backbone", runtime=("every_level",))
"""The known backbones, as in `model.backbone`."""

MODELS: Registry[SegmentationModel] = Registry("model", runtime=("num_classes", "backbone", "projection"))
"""The known networks, as in `model`. The library passes `num_classes`, `backbone: Backbone` and `projection: bool`."""

_PARTS = ("backbone", "tuning", "weights", "normalization")
"""What a specification holds beside the head's name and options."""


def model_faults(spec: Mapping[str, Any], where: str) -> list[str]:
    """Everything that is wrong with the specification of a network, one sentence each; none of its parts is built.

    Args:
        spec: `name`, the head's options, `backbone`, `tuning`; `weights` and `normalization` are left out of account.
        where: Its place in the config, for the message, for example "model".

    Examples:
        >>> import dmtc
        >>> spec = {"name": "linear", "levels": None, "dropout": 0.1, "embedding_channels": 8}
        >>> dmtc.models.model_faults(spec | {"backbone": {"name": "tiny"}}, "model")
        ["model.backbone: missing option 'width'"]
    """
    faults = MODELS.faults(head_options(spec), where)
    for part, registry in (("backbone", BACKBONES), ("tuning", TUNINGS)):
        inner = spec.get(part, {"name": "full"} if part == "tuning" else None)
        if isinstance(inner, Mapping):
            faults += registry.faults(inner, f"{where}.{part}")
        else:
            faults.append(f"{where}.{part} should be a mapping with `name:`, but is {inner!r}")
    return faults


def head_options(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Name and options of the head alone."""
    return {key: value for key, value in spec.items() if key not in _PARTS}


def build_model(
    spec: Mapping[str, Any], num_classes: int, projection: bool, seed: int, where: str = "model"
) -> SegmentationModel:
    """Build a network with fresh weights that depend on nothing but the specification and the seed.

    Args:
        spec: The `model` part of the config as a plain mapping: `name`, its options, `backbone`, `tuning` (left out:
            all weights are trained alike), and `weights` and `normalization`, which are left to `load_weights`.
        num_classes: Classes C to tell apart.
        projection: Whether a loss needs an embedding.
        seed: Seed of the fresh weights. The global random state is left as it was.
        where: The specification's place in the config, for messages.

    Raises:
        ConfigError: A part of the specification is unknown, missing, of the wrong type, or impossible; or the head does
            not go with the backbone.

    Examples:
        >>> backbone = {"name": "tiny", "width": 8}
        >>> head = {"name": "deeplabv2", "aspp_rates": [1, 2], "aspp_branches": 2, "embedding_channels": 4}
        >>> model = build_model(head | {"backbone": backbone}, num_classes=3, projection=True, seed=0)
        >>> images = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
        >>> model(images).shape, model.maps(images).embedding.shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 4, 8, 12]))
    """
    raise_faults(model_faults(spec, where))
    every_level = getattr(MODELS.builder(spec["name"]), "every_level", False)
    # Weights are made on the CPU whatever the device, so a CPU and a GPU run start alike, and no other random state
    # needs keeping.
    with torch.random.fork_rng(devices=[]), _told_as(where):
        tuning = TUNINGS.build(spec.get("tuning", {"name": "full"}), where=f"{where}.tuning")
        torch.default_generator.manual_seed(seed)
        backbone = BACKBONES.build(spec["backbone"], where=f"{where}.backbone", every_level=every_level)
        model = MODELS.build(
            head_options(spec), where=where, num_classes=num_classes, backbone=backbone, projection=projection
        )
    model.tuning = tuning
    if tuning.freezes_backbone:
        backbone.requires_grad_(False)
    return model.train()


@contextmanager
def _told_as(where: str) -> Iterator[None]:
    """Let messages about `model` name the place where this specification stands, such as `model_b`."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(re.sub(r"\bmodel(?=[./=])", where, str(error))) from error


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
