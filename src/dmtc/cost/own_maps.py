"""Terms without the teacher's passes over what the student sees, to measure what these passes cost."""

import inspect
from typing import Any

from torch import nn

from dmtc.core.types import LossValue, Maps
from dmtc.losses.base import Loss, inputs_of
from dmtc.losses.terms import ActiveTerm


def by_own_maps(term: ActiveTerm) -> ActiveTerm:
    """The term with the student's own maps for the teacher's; as it is if it takes none of the teacher's."""
    return term._replace(loss=_ByOwnMaps(term.loss)) if "teacher_maps" in inputs_of(term.loss) else term


class _ByOwnMaps:
    """A loss that computes as much as another, of the student's maps for the teacher's."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        taken = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters
        self.__signature__ = inspect.Signature([each for name, each in taken.items() if name != "teacher_maps"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loss, name)

    def __call__(self, **inputs: Any) -> LossValue:
        logits, embedding = inputs["logits"].detach(), inputs.get("embedding")
        return self._loss(**inputs, teacher_maps=Maps(logits, None if embedding is None else embedding.detach()))
