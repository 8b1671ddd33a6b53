"""How this process was started: alone, or by torchrun as one of several."""

import os


def started_together() -> bool:
    """Whether torchrun, or a launcher that sets the same variables, started several processes. Works without torch."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
