"""Whether a judged card may stand as a reference for others of its model, and with which values."""

from collections.abc import Iterator

import msgspec

from gpucert.baselines.defaults import Defaults
from gpucert.baselines.learn import Candidate
from gpucert.baselines.reference import NOT_STATED, Conditions
from gpucert.outcome import Outcome
from gpucert.record import Record
from gpucert.verdict.verdict import Finding, Verdict

WITHOUT_KERNELS = "host"
"""The version of the kernels in a record that names none: what a virtual card ran was computed by the host."""


def kernel_of(record: Record) -> str:
    """The version of the kernels that a record's rates were measured with."""
    return record.versions.get("kernels", WITHOUT_KERNELS)


def candidate(record: Record, verdict: Verdict, defaults: Defaults, source: str) -> Candidate:
    """The card of a record as a candidate. What is measured against limits cannot disqualify it: that is to be learned.

    Every other gate must be tested and clean, also those of the station, because a card that was held back is no
    reference, and one that was not tested in full may be a defective one.
    """
    found = {f"{one.probe}.{one.measure}": one for one in verdict.findings}
    measured = {f"{step.probe}.{one.name}": one for step in record.steps for one in step.measurements} | found
    values = {
        name: float(one.value)
        for name, one in measured.items()
        if name in defaults.measures and isinstance(one.value, int | float) and one.unit == defaults.measures[name].unit
    }
    conditions = _conditions(record, verdict.record_sha256)
    known = conditions if isinstance(conditions, Conditions) else None
    unknown = () if isinstance(conditions, Conditions) else (conditions,)
    card, pdi = record.card.card_id, record.card.pdi
    return Candidate(
        card=card,
        also=pdi if isinstance(pdi, str) and pdi != card else None,
        record=source,
        kernel=kernel_of(record),
        conditions=known,
        simulated=record.simulated,
        values=values,
        against=(*unknown, *_against(record, verdict, defaults)),
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


def _conditions(record: Record, sha256: str) -> Conditions | str:
    """With what and in what the card was measured; else why that is no reference."""
    said = {name: record.versions.get(name, NOT_STATED) for name in ("driver", "cublas", "gpucert")}
    said |= {"cuda": record.versions.get("cuda_runtime", NOT_STATED), "tested_at": record.started_at}
    inlet = NOT_STATED if record.inlet_c is None else float(record.inlet_c)
    try:
        return msgspec.convert({**said, "inlet_c": inlet, "record_sha256": sha256}, Conditions)
    except msgspec.ValidationError as error:
        return f"its conditions are none of a reference: {error}"
