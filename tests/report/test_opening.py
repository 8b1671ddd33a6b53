"""The five lines that a run begins with."""

from pathlib import Path

import dmtc
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.report import opening_lines

ENVIRONMENT = {"processor": "A processor", "threads": 1, "processes": 2, "device": "cpu"}


def opening(small: list[str], *overrides: str) -> dict[str, str]:
    components = Components(settle(dmtc.compose([*small, *overrides])))
    lines = opening_lines(components, Path("runs/it"), ENVIRONMENT)
    return dict(line.split(":", 1) for line in lines)


def test_a_run_says_method_data_networks_machine_and_folder(small: list[str]) -> None:
    said = opening(small, "method=dmt", "loss=dst", "seed=3", "split.ratio=1/8", "model/tuning=frozen")
    assert {name: text.strip() for name, text in said.items()} == {
        "method": "dmt loss=dst, seed 3: 6 phases, 12 steps",
        "data": "synthetic, 7 classes; 3 labelled, 21 unlabelled, 6 validation images; split dmt 1/8",
        "networks": "a and b: deeplabv2 on tiny, frozen",
        "machine": "cpu, A processor, 1 thread, 2 processes, float32",
        "folder": "runs/it",
    }


def test_different_networks_are_named_apart(small: list[str]) -> None:
    said = opening(small, "model_b=linear", "method=dmtc")
    assert said["networks"].strip() == "a: deeplabv2 on tiny; b: linear on vit_small_patch14_dinov2.lvd142m"
