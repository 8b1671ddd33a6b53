"""Parts of a network: backbone, decoder, classifier, and a projection head for a contrastive loss."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.registry import Registry
from dmtc.core.types import Maps
from dmtc.models.correlation import CorrelationHead
from dmtc.models.layers import at_least_float32
from dmtc.models.normalization import Normalization
from dmtc.models.tuning import Group, Tuning


class Level(NamedTuple):
    """A feature map that a backbone can return.

    Attributes:
        channels: Number of channels.
        stride: Pixels per cell.
    """

    channels: int
    stride: int


class Backbone(nn.Module):
    """Turns normalized images into feature maps. Subclass it and register the subclass in `BACKBONES`.

    `forward` takes normalized float (B, 3, H, W) and returns the deepest map, (B, channels, h, w) with h about
    H / stride. A subclass needs only that, `channels`, `stride` and `normalization`; one with several maps also defines
    `levels` and `features`. If its constructor takes `every_level`, it receives whether the head needs more than the
    deepest map.

    Attributes:
        channels: Channels of the deepest map.
        stride: Pixels per cell of the deepest map (the output stride).
        normalization: The normalization of the weights; the model applies it before the backbone.
        multiple: The model enlarges images so that height and width are multiples of this.
        weights_root: Prefix of published weights' names in the state dict.
    """

    channels: int
    stride: int
    normalization: Normalization
    multiple: int = 1
    weights_root: str = ""

    @property
    def levels(self) -> Sequence[Level]:
        """The maps that `features` can return, from nearest the image to the deepest."""
        return (Level(self.channels, self.stride),)

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Compute several maps in one pass.

        Args:
            images: Float (B, 3, H, W), normalized.
            levels: Indices into `levels`, ascending; the last is the deepest.

        Returns:
            One map (B, channels, h, w) per level, with the level's channels and about H / stride rows.
        """
        assert list(levels) == [len(self.levels) - 1], "a backbone with several levels has its own `features`"
        return [self(images)]

    def depths(self) -> dict[str, int]:
        """Layer number of each parameter by name, 0 nearest the image; used by layer-wise learning rate decay."""
        return {name: 0 for name, _ in self.named_parameters()}

    def undecayed(self) -> set[str]:
        """Names of further parameters, besides vectors, to exempt from weight decay, such as position embeddings."""
        return set()

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """Download the published weights: tensors by published name, or None if the architecture has none."""
        return None

    def converted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Convert a file's weights to this architecture's names and shapes; None if it knows no other layout."""
        return None


class SegmentationModel(nn.Module):
    """A backbone with a decoder, a classifier and an optional projection head.

    For prediction, call it with images; it returns logits at the images' size. The training loop calls `maps` to get
    logits and embedding at the decoder's resolution.

    Args:
        backbone: The feature extractor.
        classifier: Maps the decoder's output (B, channels, h, w) to (B, C, h, w).
        projection: Maps the decoder's output to (B, D, h, w); None if no loss needs an embedding.
        decoder: Merges the list of maps of the chosen levels into one map; None passes on the deepest.
        levels: Indices into `backbone.levels` of the decoder's inputs; None means only the deepest.
        stride: Pixels per cell of the decoder's output; None means the backbone's stride.

    Attributes:
        correlation: Correlates the cells of the deepest map; None unless a loss needs it.
        every_level: Whether a subclass needs more of its backbone than the deepest map.
        own_backbone: Whether a subclass builds its backbone itself; then its spec has none.
        tuning: How the weights are trained.
    """

    every_level: ClassVar[bool] = False
    own_backbone: ClassVar[bool] = False
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
        self.correlation: CorrelationHead | None = None
        self.tuning = Tuning()

    def maps(
        self,
        images: Tensor,
        embedding: bool | None = None,
        perturb: Callable[[list[Tensor]], list[Tensor]] | None = None,
        correlation: bool = False,
    ) -> Maps:
        """Compute the maps at the decoder's resolution.

        Args:
            images: (B, 3, H, W) RGB; uint8, or float in [0, 1].
            embedding: Whether to compute the embedding. None means only in training mode: validation and labelling do
                not need it, and it is the most expensive head.
            perturb: Changes the backbone's maps [(B, c_i, h_i, w_i)] before the decoder; those that it returns may have
                more rows or fewer. It runs as plain Python even where this method is compiled.
            correlation: Whether to correlate the cells, if there is a head for it.

        Returns:
            Logits (B, C, h, w), and the embedding (B, D, h, w) or None, of as many rows as `perturb` returned; at least
            float32 even under mixed precision, so that confidences near 1 stay distinct. Gradients reach every
            parameter with `requires_grad`.
        """
        deep, features = self._features(self.backbone.normalization(images), perturb)
        logits = at_least_float32(self.classifier(features))
        project = self.projection if (self.training if embedding is None else embedding) else None
        vectors = None if project is None else at_least_float32(project(features))
        if not correlation or self.correlation is None:
            return Maps(logits, vectors)
        spread = self.correlation(deep, logits)
        return Maps(logits, vectors, at_least_float32(spread.logits), spread.weights)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C, H, W) for images (B, 3, H, W), uint8 or float in [0, 1]; upsampled with aligned corners."""
        logits = self.maps(images, embedding=False).logits
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=True)

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Set training or evaluation mode; a frozen backbone stays in evaluation mode to keep its statistics."""
        super().train(mode)
        if self.tuning.freezes_backbone:
            self.extractor.eval()
        return self

    @property
    def extractor(self) -> nn.Module:
        """The part that pretraining made: what `frozen` keeps, and what may have a learning rate of its own."""
        return self.backbone

    def require_features(self, what: str) -> None:
        """Refuse what needs feature maps apart from the logits, if the network offers none. Every backbone does.

        Args:
            what: What needs them, for the message.

        Raises:
            ConfigError: There are none; the message says what is missing.
        """

    def try_perturbing(self) -> None:
        """Refuse perturbed features, if the rest of the network cannot go on from them. Every decoder can.

        Raises:
            ConfigError: It cannot, or there are no features.
        """

    def parameter_groups(self) -> list[nn.Parameter] | list[Group]:
        """The parameters to train, or groups of them with `lr_scale`, a factor on the learning rate."""
        return self.tuning.groups(self)

    def _features(self, images: Tensor, perturb: Callable[..., list[Tensor]] | None) -> tuple[Tensor, Tensor]:
        """The deepest map, and what the decoder makes of all."""
        images = self._enlarged(images)
        if self.tuning.freezes_backbone:
            with torch.no_grad():
                levels = self._levels_of(images)
        else:
            levels = self._levels_of(images)
        if perturb is not None:
            # The compiler would replace NumPy's generators by torch's.
            uncompiled = cast(Any, torch.compiler.disable)(perturb)
            levels = uncompiled(levels)
        return levels[-1], levels[-1] if self.decoder is None else self.decoder(levels)

    def _enlarged(self, images: Tensor) -> Tensor:
        """Images whose height and width are multiples of what the backbone asks for."""
        # Resize, don't pad: logits of padded cells would be stretched over the image.
        multiple = self.backbone.multiple
        if multiple == 1:
            return images
        # Not -(-extent // multiple): graph exporters get floor division of negative numbers wrong.
        height, width = ((extent + multiple - 1) // multiple * multiple for extent in images.shape[-2:])
        return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=True)

    def _levels_of(self, images: Tensor) -> list[Tensor]:
        return [self.backbone(images)] if self.levels is None else self.backbone.features(images, self.levels)


BACKBONES: Registry[Backbone] = Registry("backbone", runtime=("every_level",))
"""The registered backbones, chosen by `model.backbone`."""

MODELS: Registry[SegmentationModel] = Registry("model", runtime=("num_classes", "backbone", "projection"))
"""The registered networks, chosen by `model`. `projection` is a `Projection`, or None if no loss needs it."""
