"""A process of its own that carries out runs of the command line, several at once, each in a fork.

So torch is imported once for all of them. It reads lists of jobs from standard input, one a line as JSON. A job has
`arguments` of the command line, the `folder` to work in, and `output`, a file for what it prints; perhaps `together`,
its rank, its group's size and port as torchrun would tell them; and perhaps `stop`, as `stopped_runs.stop_at` takes it:
at which call of what to signal itself; or `seconds`, after which it is killed. For each list it prints the exit codes;
a negative one is a signal's, and SIGKILL that of a job that hung, too.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra._internal.hydra import Hydra
from torch.distributed import TCPStore

import dmtc
import dmtc.cli.jobs
import dmtc.cli.main
import dmtc.config.compose
from stopped_runs import stop_at

TIMEOUT = 120.0


class Forks:
    """The process as its user sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, jobs: Sequence[dict[str, Any]], folder: Path) -> list[tuple[int, str]]:
        """Exit code and output of each job, all started in `folder` at the same moment."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        outputs = [folder / f"output-{number}.txt" for number in range(len(jobs))]
        complete = [
            {"folder": str(folder), **job, "output": str(path)} for job, path in zip(jobs, outputs, strict=True)
        ]
        print(json.dumps(complete), file=self._process.stdin, flush=True)
        codes = json.loads(self._process.stdout.readline())
        return [(code, path.read_text()) for code, path in zip(codes, outputs, strict=True)]

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def pair(*arguments: str, stop: dict[int, tuple[str, int, int]] | None = None) -> list[dict]:
    """The jobs of two processes that carry out one run, as torchrun would start them; `stop` by rank: where."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    jobs = [{"arguments": list(arguments), "together": (rank, 2, port)} for rank in range(2)]
    for rank, at in (stop or {}).items():
        jobs[rank]["stop"] = at
    return jobs


def assert_all_done(done: list[tuple[int, str]]) -> None:
    assert [code for code, _ in done] == [0] * len(done), "\n".join(text for _, text in done)


def _carry_out(job: dict[str, Any]) -> int:
    os.chdir(job["folder"])
    if "together" in job:
        rank, size, port = (str(number) for number in job["together"])
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "True"}
    with open(job["output"], "wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if "stop" in job:
        stop_at(*job["stop"], group=False)
    try:
        dmtc.cli.main.main(job["arguments"])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _forked(job: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = _carry_out(job)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _kill(children: list[int]) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def main() -> None:
    torch.set_num_threads(1)
    # What torch and Hydra import when they are first used, once for all forks.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()
    dmtc.engine.checks.settle(dmtc.compose())
    # Hydra composes every config twice, first only to see whether it asks for a sweep.
    Hydra.get_mode = lambda *_, **__: None
    gc.freeze()  # or the collector would copy in every fork what all of them share
    for line in sys.stdin:
        jobs = json.loads(line)
        children = [_forked(job) for job in jobs]
        # As torchrun does, keep what the processes of a run ask each other by, whichever of them ends.
        ports = {job["together"][2] for job in jobs if "together" in job}
        stores = [TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False) for port in ports]
        killers = [threading.Timer(TIMEOUT, _kill, (children,))]
        killers += [
            threading.Timer(job["seconds"], _kill, ([child],))
            for job, child in zip(jobs, children, strict=True)
            if "seconds" in job
        ]
        for killer in killers:
            killer.start()
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        for killer in killers:
            killer.cancel()
            killer.join()  # nothing else may run when the next ones fork
        del stores
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main()
