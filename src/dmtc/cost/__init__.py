"""The cost of a recipe on this machine, from measured parts: time, memory, and share of the peak speed.

Every part (training step, labelling pass, loader) is measured as a run would use it, on images of the real size, and
nothing is kept.
"""

from dmtc.cost.findings import Cost, Memory, PassCost, PlanPart, StageCost, StepCost
from dmtc.cost.measuring import measure_cost

__all__ = ["Cost", "Memory", "PassCost", "PlanPart", "StageCost", "StepCost", "measure_cost"]
