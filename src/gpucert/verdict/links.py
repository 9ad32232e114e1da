"""Links: PCIe and NVLink, against what the card can do. What one slot cannot tell from the card is the station's."""

from collections.abc import Iterator

from msgspec import structs

from gpucert.catalogue.model import PCIE_LANE_GB_S
from gpucert.outcome import Outcome
from gpucert.reading import Absent
from gpucert.record import StepRecord
from gpucert.units import Unit, show
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.rules import OWN
from gpucert.verdict.verdict import Diagnosed, Finding

PROBE = "pcie_link"
REPLAYS_PER_MINUTE = 8.0
"""DCGM's health watch warns above it (DCGM_LIMIT_MAX_PCIREPLAY_RATE)."""
LEAST_SHARE = 0.6
"""Of the link's raw rate: large pinned copies reach 0.75 to 0.85 of it; engineering choice."""

_Item = Finding | Diagnosed


def judge_links(case: Case) -> Iterator[_Item]:
    """Findings and diagnoses of every PCIe step, and of NVLink."""
    for step in case.steps_of("heat_cycles"):
        yield from _damaged(step, "copied_wrong")
    for step in case.steps_of(PROBE):
        yield from _width(case, step)
        yield from _generation(case, step)
        yield from _bandwidth(step)
        yield from _damaged(step, "wrong_words")
    yield from _replays(case)
    yield from _nvlinks(case)


def _found(step: StepRecord, measure: str, outcome: Outcome, value: float, limit: str, reason: str) -> Finding:
    return Finding(
        probe=PROBE, measure=measure, outcome=outcome, value=int(value) if float(value).is_integer() else value,
        unit=Unit.COUNT.value, limit=limit, reason=reason, authority=OWN, step=step.index, subject="station",
    )  # fmt: skip


def _width(case: Case, step: StepRecord) -> Iterator[_Item]:
    width = step.number("width")
    if width is None or case.model is None:
        return
    lanes = case.model.links.pcie_width
    reason = f"{width:.0f} of the card's {lanes} PCIe lanes are in use."
    outcome = Outcome.PASS if width >= lanes else Outcome.FAIL
    yield _found(step, "width", outcome, width, f"≥ {lanes}", reason)
    if outcome is Outcome.FAIL:
        yield diagnosed("link.pcie_width", reason, "likely")


def _generation(case: Case, step: StepRecord) -> Iterator[_Item]:
    generation = step.number("generation")
    if generation is None or case.model is None:
        return
    top = case.record.settings.pcie_gen_max
    able = case.model.links.pcie_gen if isinstance(top, Absent) else min(case.model.links.pcie_gen, top)
    reason = f"The link runs at PCIe generation {generation:.0f} under load; the card can {able}."
    outcome = Outcome.PASS if generation >= able else Outcome.FAIL
    yield _found(step, "generation", outcome, generation, f"≥ {able}", reason)
    if outcome is Outcome.FAIL:
        yield diagnosed("link.pcie_gen", reason, "likely")


def _replays(case: Case) -> Iterator[_Item]:
    """Over the whole run, because a probe of the link is a small part of it."""
    steps = case.record.steps
    changes = case.changes("pcie_replays")
    if not changes:
        return
    replays = sum(change for change in changes if change > 0)
    minutes = max((steps[-1].ended_s - steps[0].began_s) / 60, 1 / 60)
    reason = f"{replays} packets were sent again in {60 * minutes:.0f} s."
    outcome = Outcome.PASS if replays < 2 or replays / minutes <= REPLAYS_PER_MINUTE else Outcome.FAIL
    yield Finding(
        probe=PROBE, measure="replays", outcome=outcome, value=replays, unit=Unit.COUNT.value,
        limit=f"≤ {REPLAYS_PER_MINUTE:g} a minute", reason=reason,
        authority="DCGM health watch: 8 PCIe replays a minute", subject="station",
    )  # fmt: skip
    if outcome is Outcome.FAIL:
        yield diagnosed("link.pcie_errors", reason, "likely")


def _bandwidth(step: StepRecord) -> Iterator[_Item]:
    width, generation = step.number("width"), step.number("generation")
    if width is None or generation is None or int(generation) not in PCIE_LANE_GB_S:
        return
    least = LEAST_SHARE * PCIE_LANE_GB_S[int(generation)] * width
    for direction in ("to_card", "to_host"):
        rate = step.number(direction)
        if rate is None:
            continue
        shown, limit = show(rate, Unit.GBYTE_PER_SECOND), show(least, Unit.GBYTE_PER_SECOND)
        outcome = Outcome.PASS if rate >= least else Outcome.FAIL
        reason = f"Copies {direction.replace('_', ' ')} ran at {shown} over a link of {width:.0f} lanes."
        found = _found(step, direction, outcome, rate, f"≥ {limit}", reason)
        yield structs.replace(found, unit=Unit.GBYTE_PER_SECOND.value)
        if outcome is Outcome.FAIL:
            yield diagnosed("link.pcie_bandwidth", reason, "likely")


def _damaged(step: StepRecord, measure: str) -> Iterator[_Item]:
    """PCIe checks its packets, so data that differs was damaged in a chip: that is against the card."""
    wrong = step.number(measure)
    if wrong:
        yield diagnosed("link.pcie_data", f"{wrong:.0f} words arrived other than they were sent", "likely")


def _nvlinks(case: Case) -> Iterator[_Item]:
    """Links that are down cost the tiers that ask for them, and nothing else."""
    links = case.model.links.nvlinks if case.model else 0
    up = case.counters.nvlinks_up
    if not links or isinstance(up, Absent) or case.model is None:
        return
    if 0 < up < links:
        reason = f"{up} of {links} NVLinks are up."
        yield Finding(
            probe="nvlink", measure="links_up", outcome=Outcome.FAIL, value=up, unit=Unit.COUNT.value,
            limit=f"≥ {links}", reason=reason, authority="gpucert catalogue", advisory=True,
        )  # fmt: skip
        yield diagnosed("link.nvlink_down", reason, advisory=True)
