"""A process of its own that stops runs of the command line at chosen points; started by tests/api/test_resume.py.

It reads a list of jobs as JSON from standard input and carries each out in a fork, so that torch is imported once:
`arguments` of the command line (`if begun` in their place where `folder` holds a run already), and either `seconds`
until it is killed, or `point` and `count` (stop at which call of what), `signal`, and `group` (signal all processes of
the run, as a terminal or a cluster does). It prints each job's exit code; a negative one is a signal's.
"""

import json
import os
import signal
import subprocess
import sys
import threading

import torch

import dmtc
import dmtc.api.launch
import dmtc.cli.jobs
import dmtc.cli.main
import dmtc.config.compose
import dmtc.core.files
import dmtc.engine.scoring
import dmtc.engine.step
import dmtc.pseudo.store
import dmtc.run.checkpoints
import dmtc.run.folder

POINTS = {
    "start": (dmtc.run.folder.RunFolder, "write_split"),
    "step": (dmtc.engine.step, "total_loss"),
    "checkpoint": (dmtc.run.checkpoints._Hashing, "write"),
    "checkpoint named": (dmtc.run.checkpoints.Checkpoints, "_files"),
    "label file": (dmtc.pseudo.store.PseudoLabelStore, "write"),
    "file": (dmtc.core.files.os, "replace"),
    "evaluation": (dmtc.engine.scoring, "evaluate"),
    "phase done": (dmtc.run.checkpoints.Checkpoints, "remove"),
    "results": (dmtc.api.launch, "gather_results"),
}


def stop_at(point: str, count: int, signum: int, group: bool) -> None:
    """Signal this process just before call number `count` of what is called at a point."""
    holder, name = POINTS[point]
    real = getattr(holder, name)
    calls = []

    def counted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == count:
            if group:  # by another process, as a terminal or a cluster would
                subprocess.run(["kill", f"-{signum}", "--", f"-{os.getpid()}"], check=True, start_new_session=True)
            else:
                os.kill(os.getpid(), signum)
        return real(*arguments, **keywords)

    setattr(holder, name, counted)


def main() -> None:
    torch.set_num_threads(1)
    # What torch and Hydra import when they are first used, once for all forks.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()
    dmtc.engine.checks.settle(dmtc.compose())
    for job in json.loads(sys.stdin.read()):
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            with open(job["output"], "wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            if "point" in job:
                stop_at(job["point"], job["count"], job["signal"], job["group"])
            begun = "folder" in job and os.path.exists(os.path.join(job["folder"], "config.yaml"))
            code = 0
            try:
                dmtc.cli.main.main(job["if begun"] if begun else job["arguments"])
            except SystemExit as stop:
                code = stop.code
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
        killer = threading.Timer(job.get("seconds", 1e6), os.kill, (child, signal.SIGKILL))
        killer.daemon = True
        killer.start()
        _, status = os.waitpid(child, 0)
        killer.cancel()
        killer.join()  # nothing else may run when the next one forks
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
