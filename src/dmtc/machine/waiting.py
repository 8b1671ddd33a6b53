"""How OpenMP's threads wait for each other, which torch shares its work on a CPU out to."""

import os

_CHOSEN_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Any of these says how to wait, to GNU's OpenMP or to LLVM's."""
_OURS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    # GNU's OpenMP, which torch comes with on Linux: about 20 microseconds, less than it takes to sleep and wake up.
    "GOMP_SPINCOUNT": "2000",
}


def wait_passively() -> None:
    """Let threads sleep until the others are done, where they would turn in circles for some milliseconds.

    Whoever waits so keeps a core from those that are waited for, if other programs need cores too: a run of two threads
    beside two busy programs took ten times as long. OpenMP reads the environment once, when torch is imported, so this
    comes before. Processes that are started later inherit it. A setting of the user's own stays as it is, alone.
    """
    if not any(name in os.environ for name in _CHOSEN_BY):
        os.environ.update(_OURS)
