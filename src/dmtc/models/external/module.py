"""Any `torch.nn.Module` from images to logits, as a network of the library."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dmtc.core.errors import ConfigError, UserError
from dmtc.core.types import Maps
from dmtc.models.base import MODELS, Backbone, SegmentationModel
from dmtc.models.external.networks import HOW, NETWORKS, build_network, logits_of, network_faults
from dmtc.models.external.tap import USUAL, Tap, part_of
from dmtc.models.layers import at_least_float32, refuse_sizes
from dmtc.models.normalization import imagenet
from dmtc.models.projection import Projection
from dmtc.models.tuning import Group

_TRIED = 64
"""Height and width of the image that a new network is tried on, if it takes such."""


class Whole(Backbone):
    """A network as its own backbone: its weights are called `backbone.network.NAME`.

    Args:
        network: The network.
        published: Builds it with its published weights; None if it has none.
        arch: Its name, for messages.
        multiple: See `Backbone`.
    """

    weights_root = "network."

    def __init__(self, network: nn.Module, published: Callable[[], nn.Module] | None, arch: str, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.arch = arch
        self.multiple = multiple
        self.normalization = imagenet()
        self.channels, self.stride = 0, 1  # until it was tried
        self._published = published

    def imagenet_state(self) -> dict[str, Tensor] | None:
        """The weights that the network's builder downloads."""
        return None if self._published is None else self._published().state_dict()


@MODELS.register("torch_module")
class ModuleNetwork(SegmentationModel):
    """A `torch.nn.Module` that maps normalized float images (B, 3, H, W) to logits (B, C, h, w).

    Its logits are a tensor, an entry or attribute `out` or `logits`, or the first of several outputs. One part of it
    may offer feature maps. An embedding is the projection of the last of them, a perturbation changes them all before
    the rest of the network, and a tuning treats that part as the backbone. Without such a part these are refused.

    Args:
        num_classes: Number of classes C.
        projection: Builds the head for the embedding, or None if no loss needs one.
        network: Name in `NETWORKS`.
        options: Arguments of its builder.
        features: Dotted name of the part whose output are feature maps; None takes a part called backbone or encoder.
        multiple: Images are enlarged so that height and width are multiples of this, at least 1.
        embedding_channels: Channels D of the embedding.

    Raises:
        ConfigError: No network is named, its builder or part is unknown, or it returns no logits of C classes.
    """

    own_backbone = True

    def __init__(
        self,
        *,
        num_classes: int,
        projection: Projection | None,
        network: str | None,
        options: dict[str, Any],
        features: str | None,
        multiple: int,
        embedding_channels: int,
    ) -> None:
        if network is None:
            raise ConfigError(f"model=torch_module needs model.network=NAME, a network of yours: {HOW}")
        refuse_sizes(multiple=multiple, embedding_channels=embedding_channels)
        body = build_network(network, options, num_classes)
        part = part_of(body, features, network)
        super().__init__(Whole(body, _published(network, options, num_classes), network, multiple), nn.Identity(), None)
        self.network = network
        self.part = part
        self._tap = Tap()
        if part is not None:
            body.get_submodule(part).register_forward_hook(self._tap)
        self._try(num_classes)
        if projection is not None:
            self.require_features("the embedding that a loss needs")
            self.projection = projection(self.backbone.channels, embedding_channels)

    @staticmethod
    def nested_faults(arguments: Mapping[str, Any], where: str) -> list[str]:
        """Errors in the choice of the network; see `Registry.faults`."""
        return network_faults(arguments["network"], arguments["options"], where)

    @staticmethod
    def title(spec: Mapping[str, Any]) -> str:
        """See `network_title`."""
        return f"module {spec['network']}"

    def maps(
        self,
        images: Tensor,
        embedding: bool | None = None,
        perturb: Callable[[list[Tensor]], list[Tensor]] | None = None,
        correlation: bool = False,
    ) -> Maps:
        """Logits at the network's own size, and an embedding at the size of its features; see `SegmentationModel`."""
        project = self.projection if (self.training if embedding is None else embedding) else None
        correlate = self.correlation if correlation else None
        images = self._enlarged(self.backbone.normalization(images))
        if project is None and correlate is None and perturb is None:
            return Maps(at_least_float32(self._logits(images)))
        logits, deep = self._tapped(images, perturb)
        vectors = None if project is None else at_least_float32(project(deep))
        if correlate is None:
            return Maps(at_least_float32(logits), vectors)
        spread = correlate(deep, logits)
        return Maps(at_least_float32(logits), vectors, at_least_float32(spread.logits), spread.weights)

    @property
    def extractor(self) -> nn.Module:
        """The part that offers features."""
        self.require_features("a tuning of the backbone apart (model.tuning)")
        assert self.part is not None
        return self._module.get_submodule(self.part)

    def parameter_groups(self) -> list[nn.Parameter] | list[Group]:
        """As the tuning says, with the part that offers features as the backbone."""
        return self.tuning.groups(_Parts(self, "" if self.part is None else f"backbone.network.{self.part}."))

    def require_features(self, what: str) -> None:
        """Refuse what needs feature maps if no part offers them."""
        if self.backbone.channels == 0:
            which = f"its part {self.part!r} returns none" if self.part else f"no part is called {' or '.join(USUAL)}"
            raise ConfigError(
                f"model.network={self.network}: {what} takes feature maps (B, c, h, w), and {which}; name one that"
                " does as model.features=PART"
            )

    def try_perturbing(self) -> None:
        """Refuse perturbed features if the rest of the network fails on them."""
        self.require_features("views.perturbation")
        try:
            with _tried(self) as image:
                logits, _ = self._tapped(image, lambda maps: [torch.cat([each, each]) for each in maps])
            fault = None if len(logits) == 2 * len(image) else f"of {2 * len(image)} rows it returns {len(logits)}"
        except RuntimeError as error:
            fault = str(error).splitlines()[0]
        if fault:
            raise ConfigError(
                f"model.network={self.network}: views.perturbation adds rows to what {self.part!r} returns, and the"
                f" rest fails on them ({fault}); name a part that all the rest starts from as model.features=PART"
            )

    @property
    def _module(self) -> nn.Module:
        assert isinstance(self.backbone, Whole)
        return self.backbone.network

    def _logits(self, images: Tensor) -> Tensor:
        return logits_of(self._module(images), self.network)

    def _tapped(self, images: Tensor, perturb: Callable[[list[Tensor]], list[Tensor]] | None) -> tuple[Tensor, Tensor]:
        """Logits, and the last feature map."""
        self._tap.wanted, self._tap.perturb = True, perturb
        try:
            logits, deep = self._logits(images), self._tap.deepest
        finally:
            self._tap.wanted, self._tap.perturb, self._tap.deepest = False, None, None
        assert deep is not None, "required by `require_features`"
        return logits, deep

    def _try(self, num_classes: int) -> None:
        """See what the network makes of an image: its logits, and the channels and stride of its features."""
        with _tried(self) as image:
            self._tap.wanted = True
            try:
                logits, deep = self._logits(image), self._tap.deepest
            except UserError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                raise ConfigError(
                    f"model.network={self.network} fails on a normalized image {tuple(image.shape)}"
                    f" ({type(error).__name__}: {reason}); model.multiple=N enlarges images to multiples of N"
                ) from error
            finally:
                self._tap.wanted, self._tap.deepest = False, None
        if logits.shape[:2] != (len(image), num_classes):
            raise ConfigError(
                f"model.network={self.network} should return logits of {num_classes} classes, but of images"
                f" {tuple(image.shape)} it returns {tuple(logits.shape)}; its builder gets `num_classes`"
            )
        self.stride = image.shape[-1] / logits.shape[-1]
        if deep is not None:
            self.backbone.channels, self.backbone.stride = deep.shape[1], max(1, image.shape[-1] // deep.shape[-1])


@contextmanager
def _tried(model: SegmentationModel) -> Iterator[Tensor]:
    """An image for a trial in evaluation mode, without gradients; afterwards the network's mode is as before."""
    backbone = model.backbone
    modes = [(part, part.training) for part in backbone.modules()]
    side = -(-_TRIED // backbone.multiple) * backbone.multiple
    parameter = next(backbone.parameters(), torch.zeros(()))
    backbone.eval()
    try:
        with torch.no_grad():
            yield torch.zeros(2, 3, side, side, device=parameter.device)
    finally:
        for part, mode in modes:
            part.training = mode


class _Parts:
    """The parameters of a network under names that a tuning knows: those of one part begin with `backbone.`."""

    def __init__(self, model: SegmentationModel, prefix: str) -> None:
        self._model = model
        self._prefix = prefix

    @property
    def backbone(self) -> "_Parts":
        """Itself, as all its layers are one."""
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """See `nn.Module`."""
        return self._model.parameters()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """See `nn.Module`."""
        for name, parameter in self._model.named_parameters():
            of_part = bool(self._prefix) and name.startswith(self._prefix)
            yield f"backbone.{name.removeprefix(self._prefix)}" if of_part else f"head.{name}", parameter

    def depths(self) -> dict[str, int]:
        """One layer."""
        names = [name.removeprefix("backbone.") for name, _ in self.named_parameters() if name.startswith("backbone.")]
        return dict.fromkeys(names, 0)

    def undecayed(self) -> set[str]:
        """None beside vectors."""
        return set()


def _published(network: str, options: Mapping[str, Any], num_classes: int) -> Callable[[], nn.Module] | None:
    """Builds a network with its published weights, if its builder can."""
    if "pretrained" not in inspect.signature(NETWORKS.builder(network)).parameters:
        return None
    return partial(build_network, network, options, num_classes, pretrained=True)
