"""Chooses the backbone's maps for a head, and reports backbones that do not fit."""

from collections.abc import Sequence

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.base import Backbone

LOW_STRIDE = 4
"""Pixels per cell of the map that refines edges in DeepLab v3+."""


def is_plain(backbone: Backbone) -> bool:
    """Whether the backbone has several maps, all of the same stride, like a plain vision transformer."""
    strides = {level.stride for level in backbone.levels}
    return len(backbone.levels) > 1 and len(strides) == 1


def several_levels(backbone: Backbone, levels: Sequence[int] | None, count: int, head: str) -> list[int]:
    """Choose maps for a head that merges several.

    Args:
        backbone: The backbone.
        levels: Indices given by the user; None takes the deepest, or evenly spaced ones for a plain transformer.
        count: Number of maps that the head needs.
        head: The head's name, for messages.

    Raises:
        ConfigError: The backbone has fewer maps, or the given indices are invalid.
    """
    known = len(backbone.levels)
    if known < count:
        raise ConfigError(
            f"model={head} needs {count} feature maps from its backbone, but {named(backbone)} has {known}; choose "
            "another model/backbone, such as resnet50, convnext_tiny, swin_tiny, mit_b0 or dinov2_small, or a model "
            "that needs one map (deeplabv2 or linear)"
        )
    if levels is not None:
        return given_levels(backbone, levels, count)
    if is_plain(backbone):
        return [round(known * (number + 1) / count) - 1 for number in range(count)]
    return list(range(known - count, known))


def given_levels(backbone: Backbone, levels: Sequence[int], count: int | None = None) -> list[int]:
    """Check the indices given by the user.

    Raises:
        ConfigError: They are not ascending indices with the deepest map last, or not `count` of them.
    """
    known = len(backbone.levels)
    ascending = list(levels) == sorted(set(levels)) and len(levels) == (count or len(levels)) and len(levels) > 0
    if not ascending or levels[0] < 0 or levels[-1] != known - 1:
        number = f"{count} " if count else ""
        raise ConfigError(
            f"model.levels should be null or {number}ascending numbers from 0 to {known - 1}, the last of them "
            f"{known - 1}, as {named(backbone)} has {known} maps, but is {list(levels)}"
        )
    return list(levels)


def pyramid_levels(backbone: Backbone, levels: Sequence[int] | None, count: int, head: str) -> list[int]:
    """Choose maps like `several_levels`, for a head that needs maps at different strides.

    Raises:
        ConfigError: As for `several_levels`, or all maps have the same stride.
    """
    if is_plain(backbone):
        raise _no_pyramid(backbone, head)
    return several_levels(backbone, levels, count, head)


def low_and_deep(backbone: Backbone, head: str) -> list[int]:
    """Indices of the deepest map at stride 4 and of the deepest map of all.

    Raises:
        ConfigError: The backbone has no map at stride 4, or no deeper one.
    """
    if is_plain(backbone):
        raise _no_pyramid(backbone, head)
    low = [number for number, level in enumerate(backbone.levels) if level.stride == LOW_STRIDE]
    if not low or backbone.stride <= LOW_STRIDE:
        strides = ", ".join(str(level.stride) for level in backbone.levels)
        raise ConfigError(
            f"model={head} needs a feature map at stride {LOW_STRIDE} and a deeper one, but {named(backbone)} has "
            f"strides {strides}; choose another model/backbone, such as resnet50 or convnext_tiny, or model=deeplabv2"
        )
    return [low[-1], len(backbone.levels) - 1]


def named(backbone: Backbone) -> str:
    """Name of a backbone for messages."""
    return f"the backbone {getattr(backbone, 'arch', type(backbone).__name__)}"


class Reassembled(nn.ModuleList):
    """Converts four maps to the same number of channels; maps of a plain transformer are also resampled to four sizes.

    Their sizes become four, two, one and half times the patch grid.

    Args:
        backbone: The backbone.
        levels: Indices of the maps.
        channels: Channels of each output map.

    Source: Ranftl et al. 2021 (DPT), section 3 ("reassemble").
    """

    def __init__(self, backbone: Backbone, levels: Sequence[int], channels: int) -> None:
        resampling = [nn.Identity() for _ in levels]
        if is_plain(backbone):
            resampling = [
                nn.ConvTranspose2d(channels, channels, kernel_size=4, stride=4),
                nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1),
            ]
        super().__init__(
            nn.Sequential(nn.Conv2d(backbone.levels[level].channels, channels, kernel_size=1), resample)
            for level, resample in zip(levels, resampling, strict=True)
        )
        first = backbone.levels[levels[0]].stride
        self.stride = first / 4 if is_plain(backbone) else first

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Each (B, c_i, h_i, w_i) to (B, channels, h_i', w_i'), the finest first."""
        return [reassemble(each) for reassemble, each in zip(self, maps, strict=True)]


def _no_pyramid(backbone: Backbone, head: str) -> ConfigError:
    return ConfigError(
        f"model={head} needs feature maps at several strides, but {named(backbone)} is a plain transformer, all of "
        f"whose maps have stride {backbone.stride}; choose model=dpt, upernet or linear for it, or another "
        "model/backbone, such as resnet50, convnext_tiny or swin_tiny"
    )
