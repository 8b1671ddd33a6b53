"""Progress display of a run: bars on a terminal, plain lines elsewhere, or only warnings."""

import logging
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal

from tqdm.auto import tqdm

from dmtc.core.terminal import fitted, width_of
from dmtc.schedule import Phase

Display = Literal["auto", "bars", "lines", "off"]

_IN_NOTEBOOK = any(base.__name__ == "tqdm_notebook" for base in tqdm.__mro__)
"""Whether `tqdm.auto` has chosen the bars of notebooks."""

_LINES_EVERY = 30
"""Seconds between two progress lines."""

# Both fit into 80 columns; the bar takes the remaining space.
_PLAN = "{desc:<14}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps  {elapsed} elapsed{postfix}"
_PART = "{desc:<14}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}  {remaining} left{postfix}"


class Progress:
    """Shows the progress of the plan and of its current part.

    Args:
        plan: Every phase of the run, for the total; empty if nothing is trained.
        display: "bars", "lines", "off", or "auto": bars on a terminal and in a notebook, otherwise lines.
        silent: Show nothing at all, because another process does.
    """

    def __init__(self, plan: list[Phase], display: Display, silent: bool = False) -> None:
        self._silent = silent
        if silent:
            display = "off"
        if display == "auto":
            display = "bars" if sys.stderr.isatty() or _IN_NOTEBOOK else "lines"
        self._display = display
        self._pace = _Pace(plan)
        self._parts: list[_Part] = []
        self._plan: tqdm | None = None
        self._line_at = time.monotonic()

    def say(self, text: str) -> None:
        """Show one line of text, above the bars if there are any."""
        if self._display != "off":
            _write(text)
            self._line_at = time.monotonic()

    def warn(self, text: str) -> None:
        """Show a warning, even with display "off"."""
        if not self._silent:
            _write(f"WARNING: {text}")

    def skip(self, steps: int) -> None:
        """Count steps done by an earlier run, without including them in the speed."""
        self._pace.skip(steps)
        self._show_plan()

    def begin(self, what: str, total: int, unit: str, done: int = 0) -> None:
        """Begin a part (training, labelling or scoring), of which an earlier run did `done`. Parts may be nested."""
        self._pace.begin()
        bar = None
        if self._display == "bars":
            self._show_plan()  # only now, so the loggers' startup messages come first
            place = len(self._parts) + (self._plan is not None)
            bar = tqdm(
                total=total, desc=what, initial=done, position=place, leave=False, dynamic_ncols=True, bar_format=_PART
            )
        self._parts.append(_Part(what, total, unit, done, done, time.monotonic(), bar))

    def advance(self, count: int, phases: int = 0) -> None:
        """Count progress of the part; training steps also count toward the plan, once for each of some phases."""
        part = self._parts[-1] if self._parts else None
        if part is not None:
            part.advance(count)
        if phases:
            self._pace.advance(count * phases)
            self._show_plan()
        elif part is not None and part.done < part.total and self._is_line_due():
            self.say(f"{part.what}  {part.done}/{part.total} {part.unit}s  {_clock(part.seconds_left())} left")

    def show(self, phase: Phase, step: int, values: dict[str, float]) -> None:
        """Show the current values."""
        part = self._parts[-1] if self._parts else None
        kept = [value for name, value in values.items() if name.endswith("/kept")]
        share = [f"{sum(kept) / len(kept):.0%} kept"] if kept else []
        loss, speed = f"loss {values['loss']:.3f}", f"{values['images_per_s']:.0f} images/s"
        if part is not None and part.bar is not None:
            part.bar.set_postfix_str(", ".join([loss, *share, speed]))
        elif step == phase.steps or self._is_line_due():
            left = f"{_clock(part.seconds_left())} left, " if part is not None and step < phase.steps else ""
            shown = "  ".join([loss, *share, f"rate {values['learning_rate']:.1e}", speed])
            self.say(
                f"{phase.name} training  {step}/{phase.steps} steps  {shown}  "
                f"{left}plan {_clock(self._pace.seconds_left())} left"
            )

    def end(self) -> None:
        """End the current part."""
        if self._parts and (bar := self._parts.pop().bar) is not None:
            bar.close()

    def close(self) -> None:
        """Close all bars."""
        while self._parts:
            self.end()
        if self._plan is not None:
            self._plan.close()

    def _show_plan(self) -> None:
        if self._display != "bars" or not self._pace.total:
            return
        if self._plan is None:
            self._plan = tqdm(
                total=self._pace.total, desc="plan", position=0, leave=True, dynamic_ncols=True, bar_format=_PLAN
            )
        self._plan.set_postfix_str(f"{_clock(self._pace.seconds_left())} left", refresh=False)
        self._plan.update(self._pace.done - self._plan.n)

    def _is_line_due(self) -> bool:
        return self._display == "lines" and time.monotonic() - self._line_at >= _LINES_EVERY


@dataclass(slots=True)
class _Part:
    """A running part; an earlier run did `done_before` of it."""

    what: str
    total: int
    unit: str
    done: int
    done_before: int
    begun: float
    bar: tqdm | None

    def advance(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(count)

    def seconds_left(self) -> float | None:
        done_now = self.done - self.done_before
        return (time.monotonic() - self.begun) / done_now * (self.total - self.done) if done_now else None


class _Pace:
    """Estimates how long the plan will take from the time per step so far, separately for each stage.

    Labelling and scoring count toward the stage they occur in. A stage that has not begun is estimated with the average
    of all steps so far.
    """

    def __init__(self, plan: list[Phase]) -> None:
        self._stages = [(phase.stage, phase.steps) for phase in plan]
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._steps: Counter[str] = Counter()
        self._advanced_at = time.monotonic()
        self._begun = False
        self.total = sum(phase.steps for phase in plan)
        self.done = 0

    def begin(self) -> None:
        """Start timing on the first call, which excludes startup such as logger logins."""
        if not self._begun:
            self._begun, self._advanced_at = True, time.monotonic()

    def skip(self, steps: int) -> None:
        self.done += steps

    def advance(self, steps: int) -> None:
        now, stage = time.monotonic(), next(iter(self._left()), "")
        self._seconds[stage] += now - self._advanced_at
        self._steps[stage] += steps
        self._advanced_at = now
        self.done += steps

    def seconds_left(self) -> float | None:
        """Estimated seconds left; None before the first step."""
        if not (steps := self._steps.total()):
            return None
        mean = sum(self._seconds.values()) / steps
        of_stage = {stage: self._seconds[stage] / count for stage, count in self._steps.items()}
        return sum(left * of_stage.get(stage, mean) for stage, left in self._left().items())

    def _left(self) -> dict[str, int]:
        """Steps left in each stage, the current one first; phases run in the plan's order."""
        left: dict[str, int] = {}
        done = self.done
        for stage, steps in self._stages:
            if steps > done:
                left[stage] = left.get(stage, 0) + steps - done
            done = max(0, done - steps)
        return left


def show_messages(display: Display) -> None:
    """Show the library's log messages on standard error, between the bars; with "off" only warnings."""
    logger = logging.getLogger("dmtc")
    logger.setLevel(logging.WARNING if display == "off" else logging.INFO)
    if not any(isinstance(handler, _Messages) for handler in logger.handlers):
        logger.addHandler(_Messages())


class _Messages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        prefix = "WARNING: " if record.levelno >= logging.WARNING else ""
        _write(prefix + record.getMessage())


def _write(text: str) -> None:
    """Write lines above the bars, fitted to the terminal."""
    tqdm.write(fitted(text, width_of(sys.stderr)), file=sys.stderr)


def _clock(seconds: float | None) -> str:
    return "?" if seconds is None else tqdm.format_interval(seconds)
