"""Schedules: the phases of a method, their lengths, optimizers and learning rates."""

from dmtc.schedule.optimizers import OPTIMIZERS
from dmtc.schedule.phase import Phase
from dmtc.schedule.plans import SCHEDULES, build_plan, mutual, self_training, supervised, supervised_long
from dmtc.schedule.rates import RATES
from dmtc.schedule.recipe import Counts, Recipe
from dmtc.schedule.settings import RoundSettings, StartSettings

__all__ = [
    "OPTIMIZERS",
    "RATES",
    "SCHEDULES",
    "Counts",
    "Phase",
    "Recipe",
    "RoundSettings",
    "StartSettings",
    "build_plan",
    "mutual",
    "self_training",
    "supervised",
    "supervised_long",
]
