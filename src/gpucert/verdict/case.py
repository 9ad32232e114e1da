"""Everything that a judgement rests on, in one value."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from msgspec import structs

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
    def official(self) -> bool:
        """Whether a tier is a letter: policy and baseline are those of this version."""
        return self.policy.shipped and (self.baseline is None or self.baseline.shipped)

    @property
    def model(self) -> Model | None:
        """The model that the card is, as far as it is known."""
        return self.match.model

    def steps_of(self, probe: str) -> Iterator[StepRecord]:
        """The steps of one probe, repeats included, in order."""
        return (step for step in self.record.steps if step.probe == probe)

    def needs(self, step: StepRecord) -> bool:
        """Whether the verdict depends on this step: by the plan, or because every certificate rests on its probe."""
        asked = self.record.plan.yields == "certificate" and step.probe in self.policy.gates.probes
        return (step.blocker or asked) and step.repeat_of is None

    @property
    def coverage_target(self) -> float:
        """Percent of the memory that must be tested: less on a small card, by what its driver keeps for itself."""
        gates, total = self.policy.gates, self.record.card.memory_mib
        if isinstance(total, Absent) or total <= 0:
            return gates.coverage_percent
        return min(gates.coverage_percent, 100 * (1 - gates.coverage_spared_mib / total))

    @cached_property
    def counters(self) -> Counters:
        """Of each counter the last answer; a flag that was ever raised stays raised."""
        return last_counters(self.record)

    def growth(self, step: StepRecord, counter: str) -> int:
        """By how much a counter rose during a step; 0 where either end is absent or it was reset meanwhile."""
        before, after = getattr(step.before, counter), getattr(step.after, counter)
        return 0 if isinstance(before, Absent) or isinstance(after, Absent) else max(0, int(after) - int(before))

    def changes(self, counter: str) -> tuple[int, ...]:
        """Every change of a counter from one reading to the next, within steps and between them."""
        return changes(self.record, counter)


def last_counters(record: Record) -> Counters:
    """Of each counter the last answer of a run; a flag that was ever raised stays raised."""
    told = [structs.astuple(one) for one in _readings(record)]
    answers: dict[str, object] = {}
    for name, column in zip(Counters.__struct_fields__, zip(*told, strict=True), strict=False):
        last = next((value for value in reversed(column) if not isinstance(value, Absent)), column[-1])
        raised = not is_good(name)
        answers[name] = raised if isinstance(last, bool) and any(one is raised for one in column) else last
    return structs.replace(Counters(), **answers)


def changes(record: Record, counter: str) -> tuple[int, ...]:
    """Every change of a counter from one reading of a run to the next."""
    values = [value for one in _readings(record) if not isinstance(value := getattr(one, counter), Absent)]
    return tuple(int(later) - int(earlier) for earlier, later in pairwise(values))


def is_good(flag: str) -> bool:
    """What a flag is on a healthy card: every one is down but that of a valid InfoROM."""
    return flag == "inforom_valid"


def _readings(record: Record) -> Iterator[Counters]:
    return (one for step in record.steps for one in (step.before, step.after))
