"""Judging records in tests, and ways to damage them."""

from collections.abc import Callable

from msgspec import structs

from gpucert.baselines import baseline as baselines
from gpucert.baselines.limit import Baseline
from gpucert.cli import jobs
from gpucert.record import Measurement, Record, StepRecord
from gpucert.verdict import policy as policies
from gpucert.verdict.judge import judge
from gpucert.verdict.policy import Policy
from gpucert.verdict.verdict import Verdict

Change = Callable[[StepRecord], StepRecord]


def judged(record: Record, policy: Policy | None = None, baseline: Baseline | None = None) -> Verdict:
    """The verdict by the shipped policy and baseline, or by others."""
    match = jobs.match(record.card)
    if baseline is None and match.model is not None:
        baseline = baselines.for_model(match.model)
    return judge(record, record_sha256="0" * 64, match=match, baseline=baseline, policy=policy or policies.shipped())


def changed(record: Record, index: int, change: Change) -> Record:
    """The record with one step changed."""
    steps = tuple(change(step) if step.index == index else step for step in record.steps)
    return structs.replace(record, steps=steps)


def with_value(record: Record, probe: str, measure: str, **fields: object) -> Record:
    """The record with fields of one measure changed in every step of a probe."""

    def one(measurement: Measurement) -> Measurement:
        return structs.replace(measurement, **fields) if measurement.name == measure else measurement

    assert any(step.value(measure) is not None for step in record.steps if step.probe == probe)
    steps = tuple(
        structs.replace(step, measurements=tuple(map(one, step.measurements))) if step.probe == probe else step
        for step in record.steps
    )
    return structs.replace(record, steps=steps)


def without(step: StepRecord, measure: str) -> StepRecord:
    """The step with one measure left unset."""
    return structs.replace(step, measurements=tuple(one for one in step.measurements if one.name != measure))


def codes(verdict: Verdict) -> set[str]:
    return {one.code for one in verdict.diagnoses}
