"""Any backbone of timm by name, at a chosen output stride where the architecture allows it."""

import difflib
from typing import Any

from torch import Tensor

from dmtc.errors import ConfigError
from dmtc.models.base import BACKBONES, Backbone
from dmtc.models.normalization import Normalization, imagenet


@BACKBONES.register("timm")
class TimmBackbone(Backbone):
    """The deepest feature map of a timm architecture.

    Args:
        arch: Name in timm, such as `mobilenetv2_100`; `resnet50.a1_in1k` also picks among the ImageNet weights.
        output_stride: Pixels per cell of the feature map. What an architecture can do differs: mostly 8, 16 or 32, and
            the patch size of a vision transformer.

    Raises:
        ConfigError: timm knows no such architecture, or cannot build it at that output stride or for any image size.
    """

    def __init__(self, *, arch: str, output_stride: int) -> None:
        super().__init__()
        import timm  # slow to import, and of use to this backbone only

        if not timm.is_model(arch):
            nearest = difflib.get_close_matches(arch, timm.list_models(), n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
            raise ConfigError(f"model.backbone.arch: timm knows no {arch!r}.{hint}")
        self.arch = arch
        self.options, self.body = _build(arch, output_stride)
        # timm keeps a transformer whole inside its feature extractor, and takes most other architectures apart.
        whole = [name for name, _ in self.body.named_children()] == ["model"]
        self.weights_root = "body.model." if whole else "body."
        self.channels = self.body.feature_info.channels()[-1]
        self.stride = output_stride
        rule = timm.get_pretrained_cfg(arch)
        self.normalization = Normalization(rule.mean, rule.std) if rule else imagenet()

    def forward(self, images: Tensor) -> Tensor:
        """Normalized (B, 3, H, W) to (B, channels, h, w)."""
        return self.body(images)[-1]

    def imagenet_state(self) -> dict[str, Tensor]:
        """Download the weights that timm holds to be the standard ones, or those of the tag in `arch`."""
        body = _features(self.arch, pretrained=True, **self.options)
        root = self.weights_root.removeprefix("body.")
        return {key.removeprefix(root): value for key, value in body.state_dict().items()}


def _features(arch: str, pretrained: bool, **options: Any) -> Any:
    import timm

    return timm.create_model(arch, pretrained=pretrained, features_only=True, out_indices=(-1,), **options)


def _build(arch: str, output_stride: int) -> tuple[dict[str, Any], Any]:
    """Find the options under which timm builds `arch` at this output stride; return them with the fresh extractor."""
    import timm

    # Transformers know no output stride, but some can be told to take images of any size.
    attempts: list[dict[str, Any]] = [
        {"output_stride": output_stride},
        {"dynamic_img_size": True, "dynamic_img_pad": True},
    ]
    rule = timm.get_pretrained_cfg(arch)
    fixed_size = rule is not None and rule.fixed_input_size
    if not fixed_size:
        attempts.append({})
    strides = []
    for options in attempts:
        try:
            body = _features(arch, pretrained=False, **options)
        # How timm refuses an option is each architecture's own affair.
        except (AssertionError, NotImplementedError, TypeError, ValueError):
            continue
        strides.append(body.feature_info.reduction()[-1])
        if strides[-1] == output_stride:
            return options, body
    reason = f" (left alone it has {strides[-1]})" if strides else " for images of any size" if fixed_size else ""
    raise ConfigError(f"model.backbone: timm cannot build {arch} at output_stride {output_stride}{reason}")
