"""The cost of a recipe as a text page."""

import math

from dmtc.cost import Cost, PassCost, StageCost
from dmtc.report.tables import text_table

_PART_SIZES = (1, 2, 4, 8, 16, 32)


def cost_page(cost: Cost, device: str) -> str:
    """The speed of every part, memory by batch size, and the time of the whole plan.

    Args:
        cost: The measurements.
        device: Name of the device they were made on.
    """
    free = "" if cost.free_bytes is None else f"; {_size(cost.free_bytes)} of memory were free"
    rate = f"a large matrix product runs at {cost.matrix_rate / 1e12:.3g} TFLOP/s"
    parts = [
        f"{device}; {rate}{free}",
        _steps(cost),
        *_inside(cost),
        _memory(cost),
        _reading(cost),
        _whole_images(cost),
        _plan(cost),
    ]
    return "\n\n".join(parts) + "\n"


def _steps(cost: Cost) -> str:
    added = "+".join(dict.fromkeys(name for stage in cost.stages for name in stage.embedding_terms))
    columns = ["a step of the", "images", "seconds", "images/s", "of matrix rate", "losses", "memory", "fits"]
    rows = []
    for stage in cost.stages:
        for step in stage.steps:
            rate = stage.rate(step)
            own = step is stage.own
            row = [
                stage.stage,
                str(step.images),
                _number(step.seconds),
                _number(step.seconds and step.images / step.seconds),
                _percent(rate and rate / cost.matrix_rate),
                _percent(stage.loss_share if own else None),
                _size(step.bytes),
                {True: "yes", False: "no", None: "-"}[cost.fits(step)],
            ]
            rows.append([*row, _percent(stage.embedding_adds if own else None)] if added else row)
    return text_table([*columns, f"{added} adds"] if added else columns, rows)


def _inside(cost: Cost) -> list[str]:
    """What teacher, correlation, mixing and colors add to a step, if any step has them."""
    parts = list(dict.fromkeys(part for stage in cost.stages for part in stage.seconds_without))
    if not parts:
        return []
    rows = [[stage.stage, *(_percent(stage.adds(part)) for part in parts)] for stage in cost.stages]
    return [
        text_table(["added to a step of the", *(part.replace("_", " ") for part in parts)], rows)
        + "\neach: the time that the step takes longer than without it, as a share of that"
    ]


def _memory(cost: Cost) -> str:
    rows = [[stage.stage, *(_size(stage.memory.estimate(n)) for n in _PART_SIZES)] for stage in cost.stages]
    lines = [
        text_table(["memory by images per part", *map(str, _PART_SIZES)], rows),
        "estimated: weights, gradients, optimizer state, forward and backward pass, plus a fifth;",
        "run.accumulate=N splits a batch into N parts",
        *(line for stage in cost.stages if (line := _way_to_fit(cost, stage))),
    ]
    return "\n".join(lines)


def _way_to_fit(cost: Cost, stage: StageCost) -> str:
    """What to do if the recipe's own step does not fit; empty if it fits or this is unknown."""
    if cost.fits(stage.own) is not False or cost.free_bytes is None:
        return ""
    for accumulate in range(stage.accumulate + 1, stage.own.images + 1):
        needed = stage.memory.estimate(math.ceil(stage.own.images / accumulate))
        if needed <= cost.free_bytes:
            return f"The {stage.stage} does not fit; with run.accumulate={accumulate} it needs {_size(needed)}."
    return f"The {stage.stage} does not fit, even with one image per part: choose a smaller dataset.augment.crop."


def _reading(cost: Cost) -> str:
    rows = [
        [
            stage.stage,
            _number(stage.crops_per_s),
            _number(stage.own.seconds and stage.own.images / stage.own.seconds),
            "-" if stage.workers_needed is None else str(stage.workers_needed),
            str(cost.workers),
        ]
        for stage in cost.stages
    ]
    columns = ["crops/s of the", "read per worker", "trained on", "workers needed", "run.workers"]
    note = "" if cost.workers else "\nwithout workers (run.workers=0), reading and training alternate"
    return text_table(columns, rows) + note


def _whole_images(cost: Cost) -> str:
    def row(name: str, of: PassCost) -> list[str]:
        return [name, _number(of.images_per_s), _number(of.plain_images_per_s), _percent(of.efficiency)]

    rows = [row("labelled and stored", cost.labelling)] if cost.labelling else []
    columns = ["whole images/s", "as in a run", "network alone", "efficiency"]
    return text_table(columns, [*rows, row("scored", cost.evaluation)])


def _plan(cost: Cost) -> str:
    rows = [[part.name, str(part.times), _number(part.seconds), _duration(part.total)] for part in cost.plan]
    rows.append(["all", "", "", _duration(cost.seconds)])
    return text_table(["the plan", "times", "seconds each", "total"], rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
