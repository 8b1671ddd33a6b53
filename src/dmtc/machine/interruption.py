"""Stopping on request: Ctrl-C, `kill`, and the signals that a cluster sends shortly before it ends a job."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
SIGNALS = tuple(signal.Signals[name] for name in _NAMES if hasattr(signal, name))
"""Signals that a run handles. `sbatch --signal=USR1@SECONDS` sends SIGUSR1, which is treated like SIGTERM."""


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install a signal handler for the duration of the block. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            # None means a handler that was not installed from Python, which cannot be restored.
            signal.signal(signum, signal.SIG_DFL if earlier is None else earlier)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Make SIGTERM end a command like an error does, so that partial files are cleaned up.

    Runs handle SIGTERM themselves. Does nothing if the process already handles or ignores the signal, or outside the
    main thread.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
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
    """A signal stopped a run early; all progress is saved.

    Args:
        signum: The signal.
        where: How far the run got, for the message.
    """

    def __init__(self, signum: signal.Signals, where: str) -> None:
        super().__init__(signum, where)  # the constructor's arguments, so that it can be pickled
        self._text = f"stopped by {signum.name} {where}"
        self.exit_code = 128 + (signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)

    def __str__(self) -> str:
        """The signal, and how far the run got."""
        return self._text


class JobStopped(Exception):
    """`RunStopped` in a sweep job that has its own process.

    Not a `KeyboardInterrupt`: on that, a launcher kills the processes of all other jobs while they save.

    Args:
        exit_code: The exit code of the `RunStopped`.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Interruption:
    """Records stop signals; the run checks it at points where it can stop without losing anything.

    Args:
        silent: Print nothing when a signal arrives, because another process does.

    Attributes:
        signum: The signal that asked the run to stop, or None.
    """

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self.signum: signal.Signals | None = None

    def learn(self, signum: int) -> None:
        """Record a signal that another process of the run received; 0 for none."""
        if signum and self.signum is None:
            self.signum = signal.Signals(signum)

    def check(self, where: str) -> None:
        """Stop here if a signal was received.

        Raises:
            RunStopped: A signal was received.
        """
        if self.signum is not None:
            raise RunStopped(self.signum, where)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Record signals for the duration of the block. Does nothing outside the main thread."""
        with handled_by(self._note):
            yield

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if signum == signal.SIGINT:
                raise KeyboardInterrupt  # second Ctrl-C: the user does not want to wait
            return
        self.signum = signal.Signals(signum)
        if self._silent:
            return
        again = "; Ctrl-C again stops at once" if signum == signal.SIGINT else ""
        # No print here: the handler may interrupt another print, and its buffer is not reentrant.
        os.write(2, f"\n{self.signum.name}: finishing the current step, then saving{again}\n".encode())


def leave_signals_to_the_parent() -> None:
    """Make a dataloader worker ignore stop signals from anyone but its parent.

    Ctrl-C and clusters signal all processes of a job at once, but the run needs its workers until it has saved. SIGTERM
    from the parent still ends the worker.
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
