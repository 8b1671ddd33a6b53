"""Several processes, one network: what each has learned from its part of a batch becomes one step of all of them.

By one sum over a flat copy of all gradients, and not by DistributedDataParallel: that divides by the number of
processes where the parts' shares of the labelled pixels count, wants to know beforehand which heads a phase leaves
unused, and wraps the network, whose maps the loop asks for. What it would gain, sums that overlap with the backward
pass, is some milliseconds of a step between GPUs of one machine.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from dmtc.machine.processes import Processes


def merge_step(model: nn.Module, processes: Processes) -> None:
    """Sum the gradients over all processes, and average the running statistics; nothing if there is one process.

    Args:
        model: After the backward pass of this process's part of a batch. Its gradients are those of the whole batch
            afterwards, and the same in all processes to the last bit, as the rest of the network then is.
        processes: All of which call this.
    """
    if processes.size == 1:
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    statistics = [statistic for module in model.modules() for statistic in _running_statistics(module)]
    merged = [*gradients, *statistics]
    flat = torch.cat([*(g.flatten() for g in gradients), *(s / processes.size for s in statistics)])
    parts = processes.all_reduce(flat).split([tensor.numel() for tensor in merged])
    for tensor, part in zip(merged, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def _running_statistics(module: nn.Module) -> list[Tensor]:
    if not isinstance(module, _NormBase) or module.running_mean is None or module.running_var is None:
        return []
    return [module.running_mean, module.running_var]
