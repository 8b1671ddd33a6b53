"""timm's plain vision transformers, such as DINOv2 and DINOv3, for images of any size."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.backbones.timm_names import converted, layers_of, normalization_of, refuse_unknown
from dmtc.models.base import BACKBONES, Backbone, Level


@BACKBONES.register("vit")
class VisionTransformer(Backbone):
    """The patch tokens after any of a transformer's blocks, as feature maps, without class and register tokens.

    Images are enlarged to a multiple of the patch size, and position embeddings are interpolated to the patch grid
    (DINOv3's rotary embeddings need no interpolation). Every block is a level.

    Args:
        arch: Name in timm, such as `vit_small_patch14_dinov2.lvd142m`; the tag after the dot picks the weights.
        norm: Whether to apply the transformer's final norm to every level, as DINOv2's own heads do.

    Raises:
        ConfigError: timm has no such architecture, or it is not a plain transformer, or takes only one image size.

    Source: Dosovitskiy et al. 2021 (ViT); Oquab et al. 2024 (DINOv2); Simeoni et al. 2025 (DINOv3).
    """

    weights_root = "body."

    def __init__(self, *, arch: str, norm: bool) -> None:
        super().__init__()
        refuse_unknown(arch)
        self.arch = arch
        self.norm = norm
        self.body = _body(arch, pretrained=False, norm=norm)
        self.multiple = self.stride = self.body.patch_embed.patch_size[0]
        self.channels = self.body.embed_dim
        self.normalization = normalization_of(arch)

    @property
    def levels(self) -> Sequence[Level]:
        """One level per block."""
        return [Level(self.channels, self.stride)] * len(self.body.blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized (B, 3, H, W), sides multiples of the patch size, to (B, channels, h, w), h = H / stride."""
        return self.features(images, [len(self.body.blocks) - 1])[0]

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Normalized (B, 3, H, W), sides multiples of the patch size, to one map (B, channels, h, w) per level."""
        return self.body.forward_intermediates(
            images, indices=list(levels), norm=self.norm, output_fmt="NCHW", intermediates_only=True
        )

    def depths(self) -> dict[str, int]:
        """The stem, position embeddings and tokens are 0; each block is one layer."""
        names = [name.removeprefix("body.") for name, _ in self.named_parameters()]
        return {f"body.{name}": layer for name, layer in layers_of(self.body, names).items()}

    def undecayed(self) -> set[str]:
        """Position embeddings and tokens."""
        return {f"body.{name}" for name in self.body.no_weight_decay()}

    def imagenet_state(self) -> dict[str, Tensor]:
        """Download timm's default weights, or those of the tag in `arch`."""
        return _body(self.arch, pretrained=True, norm=self.norm).state_dict()

    def converted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Convert a published file's tensors to timm's names, with position embeddings for this image size."""
        return converted(self.arch, self.body, state)


def _body(arch: str, pretrained: bool, norm: bool) -> Any:
    import timm

    try:
        body: Any = timm.create_model(arch, pretrained=pretrained, dynamic_img_size=True)
    # Architectures in timm refuse options with different exceptions.
    except (AssertionError, NotImplementedError, TypeError):
        body = None
    if body is None or not hasattr(body, "blocks") or not isinstance(body.blocks, nn.Sequential | nn.ModuleList):
        raise ConfigError(
            f"model.backbone.arch: {arch} is not a plain vision transformer that takes images of any size; "
            f"use model/backbone=timm model.backbone.arch={arch}, or one such as vit_small_patch14_dinov2.lvd142m"
        )
    # Remove the classifier and its pooling; also the final norm if unused, because it would never be trained.
    body.prune_intermediate_layers([len(body.blocks) - 1], prune_norm=not norm, prune_head=True)
    return body
