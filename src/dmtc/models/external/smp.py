"""Networks of segmentation_models_pytorch (smp): its encoder is the backbone, its decoder the decoder."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.core.registry import unknown
from dmtc.core.suggestions import did_you_mean, nearest
from dmtc.models.backbones.timm_names import normalization_of
from dmtc.models.base import MODELS, Backbone, Level, SegmentationModel
from dmtc.models.layers import refuse_sizes
from dmtc.models.normalization import Normalization, imagenet
from dmtc.models.projection import Projection

_OURS = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "upsampling")
"""Arguments of smp's networks that follow from other settings, or that would change what the network returns."""

_OF_TIMM = "tu-"
"""Begins the names of encoders that smp takes from timm."""


class SmpEncoder(Backbone):
    """An encoder of smp.

    Args:
        encoder: From a network of smp.
        arch: Its name in smp.
    """

    weights_root = "encoder."

    def __init__(self, encoder: Any, arch: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.arch = arch
        self.multiple = encoder.output_stride
        widths = list(encoder.out_channels)
        # The first map is the image, or one of its size; no decoder reads more of it than the size.
        self._levels = [Level(0, 1)]
        self._levels += [
            Level(width, min(2**depth, encoder.output_stride)) for depth, width in enumerate(widths) if depth
        ]
        self.channels, self.stride = self._levels[-1]
        of_timm = arch.startswith(_OF_TIMM)
        self.normalization = normalization_of(arch.removeprefix(_OF_TIMM)) if of_timm else imagenet()

    @property
    def levels(self) -> Sequence[Level]:
        """An empty map of the image's size, then those of the stages; a stage that there is not is empty, too."""
        return self._levels

    def forward(self, images: Tensor) -> Tensor:
        """Normalized (B, 3, H, W) to (B, channels, h, w)."""
        return self.encoder(images)[-1]

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Normalized (B, 3, H, W) to one map (B, channels, h, w) per level."""
        maps = [images[:, :0], *self.encoder(images)[1:]]
        return [maps[level] for level in levels]

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """Download smp's ImageNet weights, with the normalization that they want."""
        from segmentation_models_pytorch.encoders import encoders, get_encoder, get_preprocessing_params

        if not self.arch.startswith(_OF_TIMM) and "imagenet" not in encoders[self.arch]["pretrained_settings"]:
            return None
        depth = len(self._levels) - 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # smp warns of how we name the weights of timm's encoders
            encoder = get_encoder(self.arch, depth=depth, weights="imagenet")
            rule = get_preprocessing_params(self.arch)
        state = {f"backbone.encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
        largest = rule["input_range"][1]
        mean, std = ([value / largest for value in rule[key]] for key in ("mean", "std"))
        normalization = Normalization(mean=mean, std=std, bgr=rule["input_space"] == "BGR")
        return state | {f"backbone.normalization.{key}": value for key, value in normalization.state_dict().items()}


class _Decoder(nn.Module):
    """A decoder of smp, which takes the maps of all levels."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of the levels to (B, channels, h, w)."""
        return self.decoder(list(maps))


@MODELS.register("smp")
class SmpNetwork(SegmentationModel):
    """Any network of segmentation_models_pytorch but DPT; logits are those of its convolution, before it enlarges them.

    The embedding is the projection of what the decoder returns, perturbations change the maps of the encoder.

    Args:
        num_classes: Number of classes C.
        projection: Builds the head for the embedding, or None if no loss needs one.
        arch: Name of the network in smp, such as unet, in any case.
        encoder: Name of the encoder in smp, such as resnet34, or tu-NAME for one of timm.
        options: Further arguments of the network's class in smp, such as `decoder_channels`.
        embedding_channels: Channels D of the embedding.

    Raises:
        ConfigError: smp is not installed, or cannot build the network.

    Source: Iakubovskii 2019 (segmentation_models_pytorch); deviation: images of any size, enlarged to what it takes.
    """

    own_backbone = True

    def __init__(
        self,
        *,
        num_classes: int,
        projection: Projection | None,
        arch: str,
        encoder: str,
        options: dict[str, Any],
        embedding_channels: int,
    ) -> None:
        refuse_sizes(embedding_channels=embedding_channels)
        network = _built(arch, encoder, options, num_classes)
        conv, enlarging = network.segmentation_head[0], network.segmentation_head[1]
        backbone = SmpEncoder(network.encoder, encoder)
        head = projection(conv.in_channels, embedding_channels) if projection else None
        levels = range(len(backbone.levels))
        stride = getattr(enlarging, "scale_factor", 1)
        super().__init__(backbone, conv, head, _Decoder(network.decoder), levels, stride)

    @staticmethod
    def title(spec: Mapping[str, Any]) -> str:
        """See `network_title`."""
        return f"{spec['arch']} of smp on {spec['encoder']}"


def _built(arch: str, encoder: str, options: dict[str, Any], num_classes: int) -> Any:
    try:
        import segmentation_models_pytorch as smp
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model=smp needs segmentation_models_pytorch, which is not here ({error}): pip install"
            " segmentation-models-pytorch, or dmtc[smp]"
        ) from error
    known = {name: made for name, made in smp.MODEL_ARCHITECTURES_MAPPING.items() if name != "dpt"}
    if arch.lower() == "dpt":
        raise ConfigError("model.arch=dpt: smp's DPT passes tokens on beside maps; take ours, model=dpt")
    if arch.lower() not in known:
        raise ConfigError(f"model.arch: smp has no network {unknown(arch, known)}")
    if not encoder.startswith(_OF_TIMM) and encoder not in smp.encoders.get_encoder_names():
        hint = did_you_mean(map(repr, nearest(encoder, smp.encoders.get_encoder_names())))
        raise ConfigError(
            f"model.encoder: smp has no encoder {encoder!r}.{hint} smp.encoders.get_encoder_names() lists its own,"
            f" {_OF_TIMM}NAME is one of timm"
        )
    made = known[arch.lower()]
    takes = [name for name in inspect.signature(made).parameters if name not in (*_OURS, "self", "kwargs")]
    if strange := [name for name in options if name not in takes]:
        raise ConfigError(f"model.options: {made.__name__} has no option {unknown(strange[0], takes)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return made(encoder_name=encoder, encoder_weights=None, classes=num_classes, **options)
    # smp and timm refuse what does not fit with many kinds of errors.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"model=smp: smp cannot build {made.__name__} with the encoder {encoder} ({type(error).__name__}: {reason})"
        ) from error
