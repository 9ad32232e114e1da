"""Whether a judged card may stand as a reference for others of its model, and with which values."""

from collections.abc import Iterator

from gpucert.baselines.defaults import Defaults
from gpucert.baselines.learn import Candidate
from gpucert.outcome import Outcome
from gpucert.record import Record
from gpucert.verdict.verdict import Finding, Verdict


def candidate(record: Record, verdict: Verdict, defaults: Defaults, source: str) -> Candidate:
    """The card of a record as a candidate. What is measured against limits cannot disqualify it: that is to be learned.

    Every other gate must be tested and clean, also those of the station, because a card that was held back is no
    reference, and one that was not tested in full may be a defective one.
    """
    measured = {f"{one.probe}.{one.measure}": one for one in verdict.findings}
    values = {
        name: float(one.value)
        for name, one in measured.items()
        if name in defaults.measures and isinstance(one.value, int | float) and one.unit == defaults.measures[name].unit
    }
    return Candidate(
        card=record.card.card_id,
        tested_at=record.started_at,
        record=source,
        kernel=record.versions.get("kernels", "host"),
        conditions=_conditions(record),
        simulated=record.simulated,
        values=values,
        against=tuple(_against(record, verdict, defaults)),
    )


def _against(record: Record, verdict: Verdict, defaults: Defaults) -> Iterator[str]:
    if record.card.card_id.startswith(("unstable", "unidentified")):
        yield "it has no stable identity"
    if record.interrupted:
        yield "its run was interrupted"
    if record.plan.yields != "certificate":
        yield f"plan {record.plan.name} is too short to know it for healthy"
    for finding in verdict.findings:
        if _disqualifies(finding, defaults):
            yield f"{finding.probe}, {finding.measure}: {finding.reason}"


def _disqualifies(finding: Finding, defaults: Defaults) -> bool:
    """A rate that fails its limit is what is to be learned; one that cannot be (an error) is no rate."""
    if finding.outcome is Outcome.ERROR or finding.hides:
        return not finding.advisory
    if finding.outcome is Outcome.SKIPPED:
        return finding.blocker
    learned = f"{finding.probe}.{finding.measure}" in defaults.measures
    return finding.outcome is Outcome.FAIL and not learned and not finding.advisory


def _conditions(record: Record) -> str:
    versions = record.versions
    named = [f"{name} {versions[name]}" for name in ("driver", "cuda_runtime", "cublas", "gpucert") if name in versions]
    named.append("inlet not stated" if record.inlet_c is None else f"inlet {record.inlet_c:g} °C")
    return ", ".join(named)
