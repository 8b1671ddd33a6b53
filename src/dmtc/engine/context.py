"""What all that carries a run out has in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from dmtc.batches import Loader
from dmtc.core.types import Batch
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.machine.interruption import Interruption
from dmtc.machine.settings import pick_workers
from dmtc.run.folder import RunFolder
from dmtc.tracking.progress import Progress


class Activity:
    """What is being done, for the message if the machine fails it.

    Attributes:
        doing: In words, such as "training r1-a".
        memory: What takes memory in it, and which options change that.
    """

    def __init__(self) -> None:
        self.doing = "preparing"
        self.memory = "the networks alone"

    @contextmanager
    def during(self, doing: str, memory: str) -> Iterator[None]:
        """Name what is done meanwhile. After an error it keeps that name, for the message."""
        before = self.doing, self.memory
        self.doing, self.memory = doing, memory
        yield
        self.doing, self.memory = before


class RunContext:
    """A run's components, its folder, its networks, and where a person looks.

    Args:
        components: Data set, split, plan, losses and networks.
        folder: Where everything is written.
        progress: Where a person looks.
        interruption: Looked at wherever the run can be stopped without losing anything.

    Attributes:
        processes: All that carry the run out.
        loader: Reads batches for the whole run.
        networks: One instance of each.
        activity: What is being done.
    """

    def __init__(
        self, components: Components, folder: RunFolder, progress: Progress, interruption: Interruption | None = None
    ) -> None:
        self.components = components
        self.folder = folder
        self.progress = progress
        self.interruption = Interruption() if interruption is None else interruption
        self.processes = components.processes
        workers = pick_workers(components.run.workers, components.device, components.processes)
        self.loader = Loader(components.dataset, components.augment, workers, components.device, components.on_error)
        self.networks = Networks(components, folder)
        self.activity = Activity()

    def whole_images(self, ids: list[str], with_mask: bool) -> Iterator[Batch]:
        """Batches of whole images, until the run is asked to stop: the pass is then begun anew by the next one."""
        for batch in self.loader.images(ids, self.components.run.label_batch, with_mask):
            self.interruption.check(f"while {self.activity.doing}")
            yield batch

    def memory_of_whole_images(self) -> str:
        """What takes memory where whole images go through a network."""
        return (
            f"run.label_batch={self.components.run.label_batch} whole images at once. Free the device of other"
            f" programs and go on with: python run.py resume={self.folder.path}; or start anew with run.label_batch=1,"
            " which changes results by rounding"
        )
