"""What a recipe costs on this machine, from measured parts: time, memory, and the share of the possible speed.

Every part is measured as the run would use it (the training loop, the labelling pass, the loader) on images of the real
sizes. Nothing is learned and nothing is kept.
"""

from dmtc.cost.findings import Cost, Memory, PassCost, PlanPart, StageCost, StepCost
from dmtc.cost.measuring import measure_cost

__all__ = ["Cost", "Memory", "PassCost", "PlanPart", "StageCost", "StepCost", "measure_cost"]
