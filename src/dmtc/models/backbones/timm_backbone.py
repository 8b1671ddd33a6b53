"""Any timm backbone by name, at a chosen output stride if the architecture supports it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.backbones.timm_names import converted, layers_of, normalization_of, refuse_unknown, whole_model
from dmtc.models.base import BACKBONES, Backbone, Level


@BACKBONES.register("timm")
class TimmBackbone(Backbone):
    """The feature maps of a timm architecture.

    Args:
        arch: Name in timm, such as `mobilenetv2_100`; a tag as in `resnet50.a1_in1k` also picks the pretrained weights.
        output_stride: Pixels per cell of the deepest map. Architectures differ in what they support: mostly 8, 16 or
            32; for a vision transformer, its patch size.
        every_level: Whether to return the maps of all stages, or only the deepest.

    Raises:
        ConfigError: timm has no such architecture, or cannot build it at this output stride or for any image size.
    """

    def __init__(self, *, arch: str, output_stride: int, every_level: bool = False) -> None:
        super().__init__()
        refuse_unknown(arch)
        self.arch = arch
        self.options, self.body = _build(arch, output_stride, every_level)
        # timm's feature extractor wraps a transformer whole, but takes most other architectures apart.
        whole = [name for name, _ in self.body.named_children()] == ["model"]
        self.weights_root = "body.model." if whole else "body."
        info = self.body.feature_info
        self._levels = [Level(*level) for level in zip(info.channels(), info.reduction(), strict=True)]
        self.channels, self.stride = self._levels[-1]
        # Cutting a map into patches would drop the remainder at the edge.
        self.multiple = self.stride if _cuts_patches(self.body) else 1
        self._channels_last = not whole and str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self.normalization = normalization_of(arch)

    @property
    def levels(self) -> Sequence[Level]:
        """The maps of all stages, or only the deepest."""
        return self._levels

    def forward(self, images: Tensor) -> Tensor:
        """Normalized (B, 3, H, W) to (B, channels, h, w)."""
        return self.features(images, [len(self._levels) - 1])[0]

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Normalized (B, 3, H, W) to one map (B, channels, h, w) per level."""
        maps = self.body(images)
        chosen = [maps[level] for level in levels]
        return [each.permute(0, 3, 1, 2).contiguous() for each in chosen] if self._channels_last else chosen

    def depths(self) -> dict[str, int]:
        """The layer numbers that timm assigns."""
        layers = layers_of(whole_model(self.arch), [self._published(name) for name, _ in self.named_parameters()])
        return {name: layers[self._published(name)] for name, _ in self.named_parameters()}

    def undecayed(self) -> set[str]:
        """Parameters that timm exempts, such as position embeddings."""
        whole: Any = whole_model(self.arch)
        named = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
        canonical = {name.replace("_", ".") for name in named}
        return {name for name, _ in self.named_parameters() if self._published(name).replace("_", ".") in canonical}

    def imagenet_state(self) -> dict[str, Tensor]:
        """Download timm's default weights, or those of the tag in `arch`."""
        body = _features(self.arch, pretrained=True, out_indices=(-1,), **self.options)
        root = self.weights_root.removeprefix("body.")
        return {key.removeprefix(root): value for key, value in body.state_dict().items()}

    def converted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Convert a published file's tensors to timm's names, if timm can."""
        return converted(self.arch, whole_model(self.arch), state)

    def _published(self, name: str) -> str:
        return name.removeprefix(self.weights_root)


def _features(arch: str, pretrained: bool, **options: Any) -> Any:
    import timm

    return timm.create_model(arch, pretrained=pretrained, features_only=True, **options)


def _build(arch: str, output_stride: int, every_level: bool) -> tuple[dict[str, Any], Any]:
    """Find options with which timm builds `arch` at this output stride; return them and the new extractor."""
    import timm

    # Transformers have no output stride option, but some have an option to take images of any size.
    attempts: list[dict[str, Any]] = [
        {"output_stride": output_stride},
        {"dynamic_img_size": True, "dynamic_img_pad": True},
        {"strict_img_size": False},
    ]
    rule = timm.get_pretrained_cfg(arch)
    fixed_size = rule is not None and rule.fixed_input_size
    if not fixed_size:
        attempts.append({})
    # Request only the deepest map if possible, so that others are not kept in memory. timm's default is all stages.
    wanted: dict[str, Any] = {} if every_level else {"out_indices": (-1,)}
    strides = []
    for options in attempts:
        try:
            body = _features(arch, pretrained=False, **wanted, **options)
        # Architectures in timm refuse options with different exceptions.
        except (AssertionError, NotImplementedError, TypeError, ValueError):
            continue
        strides.append(body.feature_info.reduction()[-1])
        if strides[-1] == output_stride:
            return options, body
    reason = f" (left alone it has {strides[-1]})" if strides else " for images of any size" if fixed_size else ""
    raise ConfigError(f"model.backbone: timm cannot build {arch} at output_stride {output_stride}{reason}")


def _cuts_patches(body: nn.Module) -> bool:
    """Whether any convolution has a stride equal to its kernel size, as in patch stems, downsampling and attention."""
    convs = (module for module in body.modules() if isinstance(module, nn.Conv2d))
    return any(conv.kernel_size == conv.stride != (1, 1) for conv in convs)
