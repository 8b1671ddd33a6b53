"""The id of a run, which its folder, its results and all trackers share."""

import os
import secrets

from dmtc.core.files import read_regular
from dmtc.run.folder import RunFolder


def run_id(folder: RunFolder) -> str:
    """The id of the run in a folder, which keeps it however often it is resumed.

    A new run that an agent of a W&B sweep starts has the id that the agent gives it; any other has a random one.

    Args:
        folder: Of a run that has begun, or of one that is about to begin.
    """
    if known := folder.read_environment().get("run_id"):
        return str(known)
    earlier = folder.path / "wandb_id.txt"  # of runs whose environment.json does not have it
    if earlier.is_file():
        return read_regular(earlier).decode().strip()
    of_agent = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    return of_agent or secrets.token_hex(8)
