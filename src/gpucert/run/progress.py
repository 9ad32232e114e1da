"""What a run tells the person who waits, as callbacks; a command line draws them, a test collects them."""

from typing import Protocol

from gpucert.record import Identity, Sample, StepRecord
from gpucert.run.plan import Step


class Progress(Protocol):
    """All calls come from the thread that runs the card."""

    def run_started(self, identity: Identity, steps: tuple[Step, ...]) -> None:
        """The card answers; these steps follow."""

    def step_started(self, index: int, step: Step) -> None:
        """A step begins."""

    def step_progress(self, index: int, fraction: float, text: str) -> None:
        """How far it is, at most ten times a second."""

    def sample(self, sample: Sample) -> None:
        """The card's sensors, at most four times a second."""

    def step_finished(self, step: StepRecord) -> None:
        """A step ended, whichever way."""

    def note(self, text: str) -> None:
        """Something that a person should know now."""


class Quiet:
    """Tells nobody."""

    def run_started(self, identity: Identity, steps: tuple[Step, ...]) -> None:
        """Nothing."""

    def step_started(self, index: int, step: Step) -> None:
        """Nothing."""

    def step_progress(self, index: int, fraction: float, text: str) -> None:
        """Nothing."""

    def sample(self, sample: Sample) -> None:
        """Nothing."""

    def step_finished(self, step: StepRecord) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
