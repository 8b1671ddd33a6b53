"""Checks that a run has work for all its processes."""

from dmtc.core.errors import ConfigError
from dmtc.engine.components import Components


def refuse_processes(components: Components) -> None:
    """Refuse a number of processes that does not fit the run.

    Raises:
        ConfigError: Too few or too many processes, or a setting that the device does not support.
    """
    size, networks = components.processes.size, len(components.networks)
    if components.run.parallel_students:
        if networks != size or size == 1:
            raise ConfigError(
                "run.parallel_students=true needs as many processes as networks, and more than one (torchrun "
                f"--nproc-per-node=2 -m dmtc ...), but has {size} for {networks}"
            )
        if any(phase.together for phase in components.plan):
            raise ConfigError(
                "run.parallel_students=true trains each network in its own process, but with"
                f" teacher={components.config['teacher']['name']} they learn in the same step"
            )
        return
    if components.run.sync_batchnorm and size > 1 and components.device.type != "cuda":
        raise ConfigError("run.sync_batchnorm=true needs CUDA devices: torch supports it on no others")
    for phase in components.plan:
        images = phase.labelled_batch + phase.pseudo_batch
        if images < size:
            raise ConfigError(
                f"{size} processes cannot share a batch of {images}: use fewer, or raise "
                f"schedule.{phase.stage}.labelled_batch"
            )
        labelled, unlabelled = phase.labelled_batch, phase.pseudo_batch
        if phase.teacher is not None and min(labelled, unlabelled) < size:
            raise ConfigError(
                f"{size} processes cannot share {labelled} labelled and {unlabelled} unlabelled images per step: each"
                f" needs one of both; use fewer, or raise schedule.{phase.stage}.labelled_batch and the unlabelled one"
            )
