"""What a person sees while a run goes on: two bars on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from typing import Literal

from tqdm import tqdm

from dmtc.schedule import Phase

Display = Literal["auto", "bars", "lines", "off"]


class Progress:
    """Shows how far the plan and the phase at hand are.

    Args:
        plan: Every phase of the run, for the total.
        display: "bars", "lines", "off", or "auto": bars where standard error is a terminal, lines elsewhere.
        silent: Show nothing at all, for another process does.
    """

    def __init__(self, plan: list[Phase], display: Display, silent: bool = False) -> None:
        self._silent = silent
        if silent:
            display = "off"
        if display == "auto":
            display = "bars" if sys.stderr.isatty() else "lines"
        self._display = display
        self._steps_total = sum(phase.steps for phase in plan)
        self._steps_done = 0
        self._steps_before = 0  # done by an earlier, interrupted run: they say nothing about the speed of this one
        self._begun = time.monotonic()
        self._part: tqdm | None = None
        self._plan: tqdm | None = None
        if display == "bars":
            self._plan = tqdm(total=self._steps_total, desc="plan", unit="step", position=1, dynamic_ncols=True)

    def say(self, text: str) -> None:
        """Show one line of text, above the bars if there are any."""
        if self._plan is not None:
            self._plan.write(text, file=sys.stderr)
        elif self._display == "lines":
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Show one line that must not go unnoticed, even where nothing else is shown."""
        if self._silent:
            return
        if self._display == "off":
            print(f"WARNING: {text}", file=sys.stderr, flush=True)
        else:
            self.say(f"WARNING: {text}")

    def skip(self, steps: int) -> None:
        """Count steps that an earlier run has done."""
        self._steps_done += steps
        self._steps_before += steps
        if self._plan is not None:
            self._plan.update(steps)

    def begin(self, what: str, total: int, unit: str, done: int = 0) -> None:
        """Begin a part: the training of a phase, a labelling pass; `done` of it by an earlier run."""
        if self._display == "bars":
            bar = tqdm(total=total, desc=what, unit=unit, initial=done, position=0, leave=False, dynamic_ncols=True)
            self._part = bar

    def advance(self, count: int, training: bool = False) -> None:
        """Count what is done of the part; training steps also count for the plan."""
        if self._part is not None:
            self._part.update(count)
        if training:
            self._steps_done += count
            if self._plan is not None:
                self._plan.update(count)

    def show(self, phase: Phase, step: int, values: dict[str, float]) -> None:
        """Show the values of the moment."""
        text = f"loss {values['loss']:.3f}  rate {values['learning_rate']:.1e}  {values['images_per_s']:.0f} images/s"
        if self._part is not None:
            self._part.set_postfix_str(text)
        elif step == phase.steps or step % max(1, phase.steps // 4) < 1:
            self.say(f"{phase.name}  step {step}/{phase.steps}  {text}  {self._time_left()} left")

    def end(self) -> None:
        """End the part at hand."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.end()
        if self._plan is not None:
            self._plan.close()

    def _time_left(self) -> str:
        done_now = self._steps_done - self._steps_before
        per_step = (time.monotonic() - self._begun) / max(1, done_now)
        return tqdm.format_interval(per_step * (self._steps_total - self._steps_done))
