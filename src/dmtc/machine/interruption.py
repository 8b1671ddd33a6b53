"""Being asked to stop: Ctrl-C, `kill`, and the signals a cluster sends some time before it takes a job away."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
SIGNALS = tuple(signal.Signals[name] for name in _NAMES if hasattr(signal, name))
"""What a run heeds. SIGUSR1 is what `sbatch --signal=USR1@SECONDS` sends, and means the same as SIGTERM."""


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function handle the signals for as long as this lasts. Only a process's main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            # None: a handler that was not set from Python, and cannot be set back.
            signal.signal(signum, signal.SIG_DFL if earlier is None else earlier)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM end a command as an error would, so that nothing half-written stays; a run heeds it by itself.

    Left alone are a process that was told to ignore the signal, and threads other than the main one.
    """
    alone = threading.current_thread() is not threading.main_thread()
    if alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


class RunStopped(KeyboardInterrupt):
    """A run ended early because it was asked to; everything up to here is saved.

    Args:
        signum: What asked.
        where: How far it came, for the message.
    """

    def __init__(self, signum: signal.Signals, where: str) -> None:
        super().__init__(signum, where)  # as they are, so that it travels between processes
        self._text = f"stopped by {signum.name} {where}"
        self.exit_code = 128 + (signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)

    def __str__(self) -> str:
        """What stopped it, and how far it came."""
        return self._text


class JobStopped(Exception):
    """`RunStopped` in a job of a sweep that has a process of its own.

    No `KeyboardInterrupt`: on one of those a launcher ends the processes of all other jobs by force, while they save.

    Args:
        exit_code: Of `RunStopped`.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Interruption:
    """Notes that a run was asked to stop; the run looks at it where it can stop without losing anything.

    Args:
        silent: Do not tell that it was noted, for another process does.

    Attributes:
        signum: What asked the run to stop, if anything did.
    """

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self.signum: signal.Signals | None = None

    def learn(self, signum: int) -> None:
        """Another process of the run was asked to stop by this signal; 0 for none."""
        if signum and self.signum is None:
            self.signum = signal.Signals(signum)

    def check(self, where: str) -> None:
        """Stop here, if asked to.

        Raises:
            RunStopped: Asked to.
        """
        if self.signum is not None:
            raise RunStopped(self.signum, where)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Note signals for as long as this lasts; in another thread than the main one, none."""
        with handled_by(self._note):
            yield

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if signum == signal.SIGINT:
                raise KeyboardInterrupt  # asked again by a person, who does not want to wait
            return
        self.signum = signal.Signals(signum)
        if self._silent:
            return
        again = "; Ctrl-C again stops at once" if signum == signal.SIGINT else ""
        # Not by print: a handler may run in the middle of another print, whose buffer does not allow a second one.
        os.write(2, f"\n{self.signum.name}: finishing the step at hand, then saving{again}\n".encode())


def leave_signals_to_the_parent() -> None:
    """For a loader's process: Ctrl-C and clusters signal all processes of a job at once, and the run still needs it.

    What its parent itself sends to end it, SIGTERM, still does.
    """
    for signum in SIGNALS:
        if signum != signal.SIGTERM:
            signal.signal(signum, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_the_parent_asks, daemon=True).start()


def _end_when_the_parent_asks() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
