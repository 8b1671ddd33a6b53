"""A process of its own that stops runs of the command line at chosen points; started by tests/test_resume.py.

It reads a list of jobs as JSON from standard input and carries each out in a fork, so that torch is imported once:
`arguments` of the command line, `point` and `count` (stop at which call of what), `signal`, and `group` (signal all
processes of the run, as a terminal or a cluster does). It prints each job's exit code; a negative one is a signal's.
"""

import json
import os
import signal
import subprocess
import sys
import time

import torch

import dmtc.checkpoints
import dmtc.cli
import dmtc.execution
import dmtc.files
import dmtc.jobs
import dmtc.launch
import dmtc.phase_training
import dmtc.pseudo.store
import dmtc.run_folder
import dmtc.training

POINTS = {
    "start": (dmtc.run_folder.RunFolder, "write_split"),
    "step": (dmtc.training, "total_loss"),
    "checkpoint": (dmtc.checkpoints._Hashing, "write"),
    "checkpoint named": (dmtc.checkpoints.Checkpoints, "_files"),
    "label file": (dmtc.pseudo.store.PseudoLabelStore, "write"),
    "file": (dmtc.files.os, "replace"),
    "evaluation": (dmtc.execution, "evaluate"),
    "phase done": (dmtc.phase_training.PhaseTraining, "done"),
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
    for job in json.loads(sys.stdin.read()):
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            with open(job["output"], "wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            if "seconds" in job:  # at any moment
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                signal.setitimer(signal.ITIMER_REAL, job["seconds"])
            else:
                stop_at(job["point"], job["count"], job["signal"], job["group"])
            code = 0
            try:
                dmtc.cli.main(job["arguments"])
            except SystemExit as stop:
                code = stop.code
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
        begun = time.perf_counter()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), round(time.perf_counter() - begun, 2), flush=True)


if __name__ == "__main__":
    main()
