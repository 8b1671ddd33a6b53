"""How OpenMP threads, which torch uses on a CPU, wait for each other."""

import os

_CHOSEN_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables that set the wait policy of GNU's or LLVM's OpenMP."""
_OURS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    # For GNU's OpenMP, which torch ships on Linux: about 20 microseconds, less than a sleep and wakeup takes.
    "GOMP_SPINCOUNT": "2000",
}


def wait_passively() -> None:
    """Make OpenMP threads sleep while they wait, instead of spinning for several milliseconds.

    If other programs need cores too, a spinning thread takes a core from the threads that it waits for: a run with two
    threads next to two busy programs took ten times as long. OpenMP reads the environment once, when torch is imported,
    so call this first. Child processes inherit the setting. If the user has set a wait policy, nothing is changed.
    """
    if not any(name in os.environ for name in _CHOSEN_BY):
        os.environ.update(_OURS)
