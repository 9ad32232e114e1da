"""What a person sees while a card is tested: one line a step, and a live line with temperature and power."""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gpucert.cli.console import console, printable
from gpucert.outcome import StepStatus
from gpucert.reading import Absent, Reading
from gpucert.record import Identity, Sample, StepRecord
from gpucert.run.plan import Step

if TYPE_CHECKING:
    from rich.status import Status

_SYMBOL = {
    StepStatus.RAN: ("[green]●[/]", ""),
    StepStatus.SKIPPED: ("[magenta]–[/]", "skipped"),
    StepStatus.CRASHED: ("[red]✘[/]", "crashed"),
    StepStatus.TIMED_OUT: ("[red]✘[/]", "timed out"),
    StepStatus.ABORTED: ("[magenta]![/]", "aborted"),
    StepStatus.ERROR: ("[red]![/]", "error"),
}


class LiveProgress:
    """Shows a run on standard error; on a pipe only finished steps are printed, without a live line."""

    def __init__(self, began: Callable[[], None], *, again: bool = False) -> None:
        self._tell_began = began
        self._again = again
        self._console = console(stderr=True)
        self._live: Status | None = None
        self._step = ""
        self._words = ""
        self._card = ""
        self._began = time.monotonic()
        self._total = 0

    def __enter__(self) -> Self:
        """Start the live line where there is a terminal."""
        if self._console.is_terminal:
            self._live = self._console.status("starting")
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()

    def run_started(self, identity: Identity, steps: tuple[Step, ...]) -> None:
        """Name the card and the length of the plan, once the journal knows of the run."""
        self._tell_began()
        self._total = len(steps)
        if self._again:
            self._say("[dim]too close to a limit to decide: measuring again[/]")
            return
        minutes = sum(step.seconds for step in steps) / 60
        simulated = "  [bold]SIMULATED[/]" if identity.window_mib is not None else ""
        self._say(f"[bold]{_shown(identity.name)}[/]  serial {_shown(identity.serial)}{simulated}")
        self._say(f"[dim]{len(steps)} steps, at most {minutes:.0f} min on a card[/]")

    def step_started(self, index: int, step: Step) -> None:
        """Say which step begins."""
        self._began = time.monotonic()
        self._step = f"{index + 1:>2}/{self._total} {step.probe}"
        self._words = ""
        self._update()

    def step_progress(self, index: int, fraction: float, text: str) -> None:
        """Say how far the step is."""
        self._words = f"{100 * min(max(fraction, 0), 1):3.0f} % {_shown(text)}"
        self._update()

    def sample(self, sample: Sample) -> None:
        """Show temperature, power and clock as they are."""
        parts = [
            _with_unit(sample.temperature_c, "°C"),
            _with_unit(sample.power_w, "W"),
            _with_unit(sample.sm_clock_mhz, "MHz"),
        ]
        self._card = "  ".join(part for part in parts if part)
        self._update()

    def step_finished(self, step: StepRecord) -> None:
        """Print the step's line: what happened, never what it means (that is for the verdict)."""
        symbol, word = _SYMBOL[step.status]
        again = " (again)" if step.repeat_of is not None else ""
        reason = f"  [magenta]{word}: {_shown(step.reason)}[/]" if word else ""
        took = f"{step.ended_s - step.began_s:7.1f} s"
        self._say(
            f"{symbol} {step.index + 1:>2}/{max(self._total, step.index + 1)} {step.probe:<17}{took}{again}{reason}"
        )

    def note(self, text: str) -> None:
        """Print something that a person should know now."""
        self._say(f"[yellow]![/] {_shown(text)}")

    def _say(self, markup: str) -> None:
        with contextlib.suppress(OSError):  # a full disk behind standard error must not end a run
            self._console.print(markup)

    def _update(self) -> None:
        if self._live is not None:
            # Painting happens in a thread of rich's, which fails alone.
            self._live.update(f"{self._step}  {self._words}  [dim]{self._card}[/]")


def _with_unit(value: Reading[float], unit: str) -> str:
    return "" if isinstance(value, Absent) else f"{value:.0f} {unit}"


def _shown(value: object) -> str:
    from rich.markup import escape

    return escape(printable(str(value)))
