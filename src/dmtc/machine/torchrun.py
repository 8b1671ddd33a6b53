"""How this process was started: alone, or as one of several that carry out one command together."""

import os


def started_together() -> bool:
    """Whether torchrun, or a launcher that sets the same variables, started several processes; this needs no torch."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
