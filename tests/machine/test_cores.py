"""Cores: those a process may run on, and its control group's share of time."""

import os

import pytest

from dmtc.machine.cores import free_cores, limit_threads, release_threads, threads_are_chosen

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(root, group, files):
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(f"{group}\n")
    for name, text in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/job", {"job/cpu.max": "100000 100000"}, 1),
        ("0::/job/step", {"job/cpu.max": "50000 100000", "job/step/cpu.max": "max 100000"}, 1),  # of a group above
        ("0::/", {"cpu.max": "100000 100000"}, 1),  # as a container sees its own group
        ("0::/job", {"job/cpu.max": "max 100000"}, CORES),
        ("0::/job", {"job/cpu.max": "6400000 100000"}, CORES),  # more than it may run on
        ("4:cpu,cpuacct:/job", {"cpu/job/cpu.cfs_quota_us": "100000", "cpu/job/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu,cpuacct:/job", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, CORES),
        ("4:memory:/job", {"memory/job/cpu.max": "1 1"}, CORES),  # of something else
        ("0::/job", {"job/cpu.max": "nonsense"}, CORES),
        ("0::/job", {}, CORES),
    ],
)
def test_free_cores(tmp_path, group, files, cores):
    assert free_cores(machine(tmp_path, group, files)) == cores


def test_without_control_groups_all_cores_are_free(tmp_path):
    assert free_cores(tmp_path) == CORES


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr("dmtc.machine.cores._allowed", lambda: 4)


@pytest.mark.usefixtures("four_cores")
def test_threads_are_limited_and_released(tmp_path):
    root = machine(tmp_path, "0::/job", {"job/cpu.max": "100000 100000"})
    given = {"HOME": "/"}
    limit_threads(given, root)
    assert given["OMP_NUM_THREADS"] == "1"
    assert not threads_are_chosen(given)
    release_threads(given)
    assert given == {"HOME": "/"}


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_threads_that_somebody_chose_stay(tmp_path, name):
    given = {name: "5"}
    limit_threads(given, machine(tmp_path, "0::/job", {"job/cpu.max": "100000 100000"}))
    release_threads(given)
    assert given == {name: "5"}
    assert threads_are_chosen(given)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("limit", ["max 100000", "400000 100000", "6400000 100000"])
def test_nothing_is_limited_by_a_share_of_all_cores_or_more(tmp_path, limit):
    """torch may know better: it counts cores, not the two threads that each of some may run."""
    given: dict[str, str] = {}
    limit_threads(given, machine(tmp_path, "0::/job", {"job/cpu.max": limit}))
    assert not given
