"""Context shared by everything that works on a run."""

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
    """The current activity, for the message if the machine fails.

    Attributes:
        doing: The activity in words, such as "training r1-a".
        memory: What takes memory in it, and which options change that.
    """

    def __init__(self) -> None:
        self.doing = "preparing"
        self.memory = "the networks alone"

    @contextmanager
    def during(self, doing: str, memory: str) -> Iterator[None]:
        """Name the activity inside the context. An error keeps the name, for its message."""
        before = self.doing, self.memory
        self.doing, self.memory = doing, memory
        yield
        self.doing, self.memory = before


class RunContext:
    """A run's components, folder, networks and progress display.

    Args:
        components: Data set, split, plan, losses and networks.
        folder: Where everything is written.
        progress: Display for the user.
        interruption: Checked wherever the run can stop without losing anything.

    Attributes:
        processes: All processes of the run.
        loader: Reads batches for the whole run.
        networks: One instance of each network.
        activity: The current activity.
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
        """Batches of whole images. A stop request ends the pass; a resumed run starts it over."""
        for batch in self.loader.images(ids, self.components.run.label_batch, with_mask):
            self.interruption.check(f"while {self.activity.doing}")
            yield batch

    def memory_of_whole_images(self) -> str:
        """What takes memory when whole images go through a network, and what to do about it."""
        return (
            f"run.label_batch={self.components.run.label_batch} whole images at once. Free the device of other"
            f" programs and resume with: {self.folder.resume_command}; or start over with run.label_batch=1,"
            " which changes results by rounding"
        )
