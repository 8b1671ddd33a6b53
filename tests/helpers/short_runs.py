"""Settings of a run of four short phases, on top of those of `small`: two starts and one round of two networks."""

ONE_ROUND = [
    "model.backbone.width=4",
    "loss.contrastive.queries=32",
    "loss.contrastive.negatives=32",
    "schedule.rounds.label_ratios=[0.5]",
]

FOUR_STEPS = [
    *ONE_ROUND,
    "schedule.limit_steps=4",
    "schedule.start.evaluations=2",
    "schedule.rounds.evaluations=2",
    "run.log_every=3",
]
