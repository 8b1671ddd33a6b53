"""torchvision's ResNets as backbones (the "v1.5" layout: a stage's stride sits on its 3x3 convolution)."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.models.base import BACKBONES, Backbone, Level
from dmtc.models.normalization import imagenet

_DILATED_STAGES = {8: [False, True, True], 16: [False, False, True], 32: [False, False, False]}


class ResNet(Backbone):
    """A ResNet of bottleneck blocks up to its last stage, with torchvision's weight names.

    Dilation replaces the stride of the last stage (output stride 16) or the last two (8). Shallower ResNets, whose
    blocks torchvision cannot dilate, are available through `model/backbone=timm`.

    Args:
        arch: Name in torchvision.
        output_stride: Pixels per cell of the feature map: 8, 16 or 32.

    Raises:
        ConfigError: The output stride is not 8, 16 or 32.

    Source: He et al. 2016; Chen et al. 2017 (DeepLab v2), section 3.1, for the dilation.
    """

    def __init__(self, arch: str, output_stride: int) -> None:
        super().__init__()
        from torchvision.models import get_model  # takes seconds to import, and other backbones do not need it

        if output_stride not in _DILATED_STAGES:
            raise ConfigError(f"model.backbone.output_stride of {arch} should be 8, 16 or 32, but is {output_stride}")
        self.arch = arch
        self.stride = output_stride
        self.normalization = imagenet()
        dilated = _DILATED_STAGES[output_stride]
        whole: Any = get_model(arch, weights=None, replace_stride_with_dilation=dilated)
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.channels = whole.fc.in_features

    @property
    def levels(self) -> Sequence[Level]:
        """The stem's map before pooling, then the maps of the four stages."""
        strides = [min(stride, self.stride) for stride in (2, 4, 8, 16, 32)]
        return [Level(*level) for level in zip((64, 256, 512, 1024, self.channels), strides, strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        """Normalized (B, 3, H, W) to (B, channels, h, w), h = ceil(H / stride)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Normalized (B, 3, H, W) to one map (B, channels, h, w) per level."""
        maps = [self.relu(self.bn1(self.conv1(images)))]
        x = self.maxpool(maps[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return [maps[level] for level in levels]

    def depths(self) -> dict[str, int]:
        """The stem is 0; each block is one layer."""
        block = {name: re.match(r"layer\d\.\d+", name) for name, _ in self.named_parameters()}
        order = list(dict.fromkeys(match[0] for match in block.values() if match))
        return {name: 1 + order.index(match[0]) if match else 0 for name, match in block.items()}

    def imagenet_state(self) -> dict[str, Tensor]:
        """Download torchvision's "V1" ImageNet weights, which published results start from (not "V2")."""
        from torchvision.models import get_model_weights

        weights = get_model_weights(self.arch)["IMAGENET1K_V1"]
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))


@BACKBONES.register("resnet50")
def resnet50(*, output_stride: int) -> ResNet:
    """ResNet-50; `output_stride` is 8, 16 or 32."""
    return ResNet("resnet50", output_stride)


@BACKBONES.register("resnet101")
def resnet101(*, output_stride: int) -> ResNet:
    """ResNet-101; `output_stride` is 8, 16 or 32."""
    return ResNet("resnet101", output_stride)
