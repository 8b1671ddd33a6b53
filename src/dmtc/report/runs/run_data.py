"""Reading the data of a run, finished or not, from its folder."""

import json
from dataclasses import dataclass
from typing import Any

from dmtc.core.errors import DataError
from dmtc.core.files import read_regular
from dmtc.engine.components import Components
from dmtc.run.folder import RunFolder
from dmtc.schedule import Phase
from dmtc.tracking import read_records
from dmtc.tracking.phase_record import PhaseRecord


@dataclass(frozen=True)
class Stage:
    """The state of all networks after the same number of phases.

    Attributes:
        title: "start", "round 1" and so on.
        phases: Name of each network's phase, by the network's letter.
    """

    title: str
    phases: dict[str, str]

    @property
    def key(self) -> str:
        """A name for use in files."""
        return "+".join(self.phases.values())


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Everything in a run except networks and images.

    Attributes:
        config: The resolved config.
        plan: All phases, done or not.
        records: Records of the finished phases, by name, in the plan's order.
        stages: The finished stages.
        metrics: Lines of metrics.jsonl that have a step.
        results: The content of results.json; None if the run is not finished.
        environment: Versions and machine; empty if unknown.
        classes: Names of the classes, or numbers if the data set cannot be read.
    """

    config: dict[str, Any]
    plan: list[Phase]
    records: dict[str, PhaseRecord]
    stages: list[Stage]
    metrics: list[dict[str, Any]]
    results: dict[str, Any] | None
    environment: dict[str, Any]
    classes: list[str]

    @property
    def networks(self) -> list[str]:
        """Letters of the networks."""
        return sorted({phase.trainee for phase in self.plan})

    def of(self, stage: Stage) -> list[PhaseRecord]:
        """Records of a stage's phases."""
        return [self.records[name] for name in stage.phases.values()]

    def teacher_of(self, record: PhaseRecord) -> str | None:
        """Letter of the network that is the teacher of a phase."""
        return next((phase.trainee for phase in self.plan if phase.name == record.label_from), None)


def read_run(components: Components, folder: RunFolder) -> RunFacts:
    """Read a run.

    Raises:
        DataError: It was stopped before it had a plan, or a file is damaged.
    """
    if not folder.has_plan():
        raise DataError(f"{folder.path} has nothing to report yet: the run was stopped before its first phase")
    plan = folder.read_plan()
    records = {phase.name: record for phase in plan if (record := folder.read_phase(phase.name)) is not None}
    results = folder.read_results()
    return RunFacts(
        config=components.config,
        plan=plan,
        records=records,
        stages=_stages(plan, records),
        metrics=[line for line in read_records(folder.metrics_path) if "step" in line],
        results=results,
        environment=_environment(folder),
        classes=list(results["per_class_iou"]) if results else _classes(components, records),
    )


def _stages(plan: list[Phase], records: dict[str, PhaseRecord]) -> list[Stage]:
    of: dict[str, list[Phase]] = {}
    for phase in plan:
        of.setdefault(phase.trainee, []).append(phase)
    stages = []
    for number, phases in enumerate(zip(*of.values(), strict=False)):
        if any(phase.name not in records for phase in phases):
            break
        title = {"start": "start", "rounds": f"round {number}", "online": "online"}[phases[0].stage]
        stages.append(Stage(title, {phase.trainee: phase.name for phase in phases}))
    return stages


def _environment(folder: RunFolder) -> dict[str, Any]:
    try:
        return json.loads(read_regular(folder.path / "environment.json"))
    except (OSError, ValueError):
        return {}


def _classes(components: Components, records: dict[str, PhaseRecord]) -> list[str]:
    try:
        return list(components.dataset.classes)
    except DataError:
        counts = [len(record.iou_last) for record in records.values()]
        return [f"class {number}" for number in range(counts[0] if counts else 0)]
