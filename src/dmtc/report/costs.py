"""What a recipe costs, as a page of text."""

from dmtc.engine.cost import Cost
from dmtc.report.tables import text_table

_BATCHES = (1, 2, 4, 8, 16, 32)


def cost_page(cost: Cost, device: str) -> str:
    """Speed of every part, memory by batch size, and the time of the whole plan."""
    stages = [
        [
            step.stage,
            str(step.images),
            f"{step.seconds:.3f}",
            f"{step.images / step.seconds:.1f}",
            f"{step.operations / step.seconds / cost.matrix_rate:.0%}",
            f"{step.loss_share:.0%}",
            "-" if step.peak_bytes is None else _gigabytes(step.peak_bytes),
        ]
        for step in cost.steps
    ]
    memory = [
        [step.stage, *(_gigabytes(step.fixed_bytes + images * step.bytes_per_image) for images in _BATCHES)]
        for step in cost.steps
    ]
    plan = [[name, str(count), f"{each:.4f}", f"{count * each / 60:.1f}"] for name, count, each in cost.parts]
    plan.append(["all", "", "", f"{cost.seconds / 60:.1f}"])
    fastest = max(step.images / step.seconds for step in cost.steps)
    labelling = "" if cost.labelling is None else f", {cost.labelling:.1f} labelled and stored"
    return "\n".join(
        [
            f"{device}; a large matrix product runs at {cost.matrix_rate / 1e12:.3g} TFLOP/s",
            "",
            text_table(["step of the", "images", "seconds", "images/s", "of that rate", "losses", "peak GB"], stages),
            "",
            f"whole images a second: {cost.inference:.1f} through the network{labelling}",
            f"training crops a second: {cost.reading:.0f} read by one process; the network takes up to {fastest:.0f}",
            "",
            text_table(["GB by images a part", *map(str, _BATCHES)], memory),
            "weights, gradients, optimizer and what the backward pass needs, working space not counted;",
            "run.accumulate=N splits a batch into N parts",
            "",
            text_table(["the plan", "times", "seconds each", "minutes"], plan),
            "",
        ]
    )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.2f}"
