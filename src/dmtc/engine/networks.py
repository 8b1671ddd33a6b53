"""The networks of a run: one instance each, into which phases load the weights they need."""

from contextlib import nullcontext

import torch
from torch import Tensor

from dmtc.engine.components import Components
from dmtc.evaluation import Predictor
from dmtc.models import SegmentationModel, WeightsReport, recompute_blocks
from dmtc.run.folder import RunFolder
from dmtc.run.origin import load_network
from dmtc.schedule import Phase


def try_starting_weights(components: Components, network: str) -> WeightsReport:
    """Build a throwaway network and load its weights, to find faults early.

    Network b may start hours after a: too late to learn of a wrong file name, of a head that does not fit its backbone,
    or of features that cannot be perturbed.
    """
    model = components.model(network)
    if components.views.perturbation is not None:
        model.try_perturbing()
    return components.load_starting_weights(model, network)


class Networks:
    """The networks of a run.

    Args:
        components: How they are built.
        folder: Holds the weights of finished phases.
    """

    def __init__(self, components: Components, folder: RunFolder) -> None:
        self._components = components
        self._folder = folder
        self._models: dict[str, SegmentationModel] = {}

    def instance(self, network: str) -> SegmentationModel:
        """The single instance of a network, with its current weights. Sharing it avoids compiling twice."""
        if network not in self._models:
            model = self._components.model(network).to(self._components.device)
            if self._components.run.sync_batchnorm and self._components.processes.size > 1:
                from timm.layers.norm_act import convert_sync_batchnorm  # slow to import and rarely needed

                convert_sync_batchnorm(model)  # in place; timm's converts both torch's layers and its own
            if self._components.run.gradient_checkpointing:
                recompute_blocks(model.backbone)
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # not in torch's stubs
            if self._components.run.compile:
                model.maps = torch.compile(model.maps)
            self._models[network] = model
        return self._models[network]

    def after(self, phase_name: str, which: str = "last") -> SegmentationModel:
        """A network with the weights after a phase, "last" or "best"."""
        trainee = next(phase.trainee for phase in self._components.plan if phase.name == phase_name)
        model = self.instance(trainee)
        load_network(self._folder, model, phase_name, which)
        return model

    def started(self, phase: Phase) -> tuple[SegmentationModel, WeightsReport]:
        """A network with its starting weights, and the report on loading them."""
        model = self.instance(phase.trainee)
        # Reset it first: a resumed run may have used this instance for another phase.
        model.load_state_dict(self._components.model(phase.trainee).state_dict())
        return model, self._components.load_starting_weights(model, phase.trainee)

    def predictor(self, model: SegmentationModel) -> Predictor:
        """The network in evaluation mode, without gradients, in the run's precision.

        It is not compiled: images of many sizes would be compiled again and again, for longer than the training takes.
        """
        device, precision = self._components.device, self._components.precision
        compiled = self._components.run.compile

        def predict(images: Tensor) -> Tensor:
            model.eval()
            as_written = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
            with (
                torch.inference_mode(),
                as_written,
                torch.autocast(device.type, precision, enabled=precision.itemsize < 4),
            ):
                return model(images)

        return predict
