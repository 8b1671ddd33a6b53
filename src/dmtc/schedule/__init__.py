"""Schedules: the phases of a method, their lengths, optimizers and learning rates."""

from dmtc.schedule.optimizers import OPTIMIZERS
from dmtc.schedule.phase import Phase
from dmtc.schedule.plans import (
    SCHEDULES,
    build_plan,
    mutual,
    online,
    online_after_start,
    self_training,
    st,
    st_plus_plus,
    supervised,
    supervised_long,
)
from dmtc.schedule.rates import RATES
from dmtc.schedule.recipe import Counts, Labellers, Recipe
from dmtc.schedule.settings import OnlineSettings, RoundSettings, StartSettings

__all__ = [
    "OPTIMIZERS",
    "RATES",
    "SCHEDULES",
    "Counts",
    "Labellers",
    "OnlineSettings",
    "Phase",
    "Recipe",
    "RoundSettings",
    "StartSettings",
    "build_plan",
    "mutual",
    "online",
    "online_after_start",
    "self_training",
    "st",
    "st_plus_plus",
    "supervised",
    "supervised_long",
]
