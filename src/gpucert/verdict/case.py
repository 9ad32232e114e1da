"""Everything that a judgement rests on, in one value."""

from collections.abc import Iterator
from dataclasses import dataclass

from gpucert.baselines.limit import Baseline
from gpucert.catalogue.matching import Match
from gpucert.catalogue.model import Model
from gpucert.reading import Absent
from gpucert.record import Counters, Record, StepRecord
from gpucert.verdict.policy import Policy


@dataclass(frozen=True)
class Case:
    """One record, the model that its card is, the baseline of that model and the policy."""

    record: Record
    match: Match
    baseline: Baseline | None
    """None for an unknown model: its performance is ungraded."""
    policy: Policy

    @property
    def model(self) -> Model | None:
        """The model that the card is, as far as it is known."""
        return self.match.model

    def steps_of(self, probe: str) -> Iterator[StepRecord]:
        """The steps of one probe, repeats included, in order."""
        return (step for step in self.record.steps if step.probe == probe)

    def last_counters(self) -> Counters:
        """The last counters that the card answered; those of a card that was lost meanwhile say nothing."""
        told = (one for step in reversed(self.record.steps) for one in (step.after, step.before))
        return next((one for one in told if _answered(one)), Counters())

    def growth(self, step: StepRecord, counter: str) -> int:
        """By how much a counter rose during a step; 0 where either end is absent or it was reset meanwhile."""
        before, after = getattr(step.before, counter), getattr(step.after, counter)
        if isinstance(before, Absent) or isinstance(after, Absent):
            return 0
        return max(0, int(after) - int(before))


def _answered(counters: Counters) -> bool:
    return any(not isinstance(getattr(counters, name), Absent) for name in Counters.__struct_fields__)
