"""A process of its own that stops runs of the command line at chosen points; started by tests/test_resume.py.

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
import dmtc.checkpoints
import dmtc.cli
import dmtc.config
import dmtc.engine.scoring
import dmtc.engine.step
import dmtc.files
import dmtc.jobs
import dmtc.launch
import dmtc.pseudo.store
import dmtc.run_folder

POINTS = {
    "start": (dmtc.run_folder.RunFolder, "write_split"),
    "step": (dmtc.engine.step, "total_loss"),
    "checkpoint": (dmtc.checkpoints._Hashing, "write"),
    "checkpoint named": (dmtc.checkpoints.Checkpoints, "_files"),
    "label file": (dmtc.pseudo.store.PseudoLabelStore, "write"),
    "file": (dmtc.files.os, "replace"),
    "evaluation": (dmtc.engine.scoring, "evaluate"),
    "phase done": (dmtc.checkpoints.Checkpoints, "remove"),
    "results": (dmtc.launch, "gather_results"),
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
    dmtc.config.settle(dmtc.compose())
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
                dmtc.cli.main(job["if begun"] if begun else job["arguments"])
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
