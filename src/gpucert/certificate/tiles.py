"""The six tiles of page one: what each part of the card came to, in a word, a mark and a number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpucert.certificate.fold import nearest, shown
from gpucert.certificate.harmless import harmless
from gpucert.certificate.payload import Payload
from gpucert.certificate.words import (
    ADVICE,
    SAID_OF,
    STATION,
    capitalised,
    look_of,
    measure_name,
    probe_name,
    words,
)
from gpucert.outcome import LOOKS, Look, Outcome
from gpucert.verdict.verdict import Finding

_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL, Outcome.SKIPPED, Outcome.PASS, Outcome.NOT_OFFERED)


@dataclass(frozen=True)
class Tile:
    """One of the six boxes of page one."""

    title: str
    look: Look
    words: str
    advice: str = ""


def tiles(payload: Payload) -> tuple[Tile, ...]:
    """Five sums of findings, and the clearing of memory, which no plan does yet. Every finding is in one of them."""
    parts: dict[str, list[Finding]] = {title: [] for title in _FACTS}
    for finding in payload.findings:
        parts[_part(finding)].append(finding)
    boxes = (_tile(title, findings, payload) for title, findings in parts.items())
    return (*boxes, Tile("Data clearing", LOOKS[Outcome.SKIPPED], "Not performed."))


def _part(finding: Finding) -> str:
    if finding.measure in _OF_HEAT:
        return "Heat and power"
    if finding.probe in _OF_PROBE:
        return _OF_PROBE[finding.probe]
    named = (part for word, part in _OF_WORD if word in finding.measure)
    return next(named, _REST)


def _tile(title: str, findings: Sequence[Finding], payload: Payload) -> Tile:
    advice = _advice([one for one in findings if look_of(one) == ADVICE])
    counted_ones = [one for one in findings if not one.advisory and one.subject != "note"]
    if not counted_ones:
        return Tile(title, LOOKS[Outcome.SKIPPED], "Nothing was tested.", advice)
    ranked = sorted(counted_ones, key=_rank)
    worst = [one for one in ranked if _rank(one) == _rank(ranked[0])]
    look = look_of(worst[0])
    if worst[0].outcome is Outcome.PASS:
        return Tile(title, look, f"{_FACTS[title](payload)} {_all_passed(len(worst))}".strip(), advice)
    return Tile(title, look, _what(worst), advice)


def _rank(finding: Finding) -> int:
    """The card's own faults before the station's, and both before what is merely unknown."""
    if look_of(finding) == STATION:
        return _WORST_FIRST.index(Outcome.MARGINAL) * 2 + 1
    return _WORST_FIRST.index(finding.outcome) * 2


def _all_passed(count: int) -> str:
    return "1 finding, passed." if count == 1 else f"{count} findings, all passed."


def _what(worst: Sequence[Finding]) -> str:
    """What went wrong, by name: the first, at its worst, and how many others."""
    first = nearest([one for one in worst if (one.measure, one.limit) == (worst[0].measure, worst[0].limit)])
    others = len({(one.probe, one.measure) for one in worst}) - 1
    if first.outcome not in SAID_OF:
        what = "does not apply" if first.outcome is Outcome.NOT_OFFERED else "not tested"
        return f"{_label(first)}{f' and {others} more' if others else ''}: {what}."
    more = f" And {others} more." if others else ""
    if first.limit and first.value is not None and first.measure != "step" and look_of(first) != STATION:
        return f"{_label(first)}: {shown(first.value, first.unit)}, limit {harmless(first.limit)}.{more}"
    return f"{_label(first)}: {harmless(first.reason, 100)}{more}"


def _label(finding: Finding) -> str:
    if finding.measure == "step":
        return probe_name(finding.probe)
    return capitalised(measure_name(finding.probe, finding.measure))


def _advice(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    first = findings[0]
    limit = f", limit {harmless(first.limit)}" if first.limit else ""
    return f"{_label(first)}: {shown(first.value, first.unit)}{limit}"


# The number of each tile


def _worst_value(payload: Payload, probe: str, measure: str) -> Finding | None:
    same = [one for one in payload.findings if (one.probe, one.measure) == (probe, measure)]
    return nearest(same) if same else None


def _compute(payload: Payload) -> str:
    reached = _worst_value(payload, "sm_answers", "sms_reached")
    return f"{shown(reached.value)} SMs gave the known answers;" if reached else ""


def _memory(payload: Payload) -> str:
    coverage = _worst_value(payload, "memory_scan", "coverage")
    if coverage is None:
        return ""
    told = {one.measure: one.value for one in payload.rates}
    reads, bound = told.get("memory_scan.reads"), told.get("memory_scan.error_bound")
    often = f" {reads} times" if isinstance(reads, int) else ""
    sure = f", at most {bound:.1g} errors per bit read (95\u202f%)" if isinstance(bound, float) else ""
    return f"{shown(coverage.value, coverage.unit)} of it compared{often}{sure};"


def _heat(payload: Payload) -> str:
    peaks = [
        f"{max(known):.0f}\u202f{unit}"
        for name, unit in (("temperature_c", "°C"), ("power_w", "W"))
        if name in payload.series and (known := [value for value in payload.series[name].values if value is not None])
    ]
    return f"Up to {' and '.join(peaks)};" if peaks else ""


def _links(payload: Payload) -> str:
    told = {one.measure: one.value for one in payload.rates}
    generation, width = told.get("pcie_link.generation"), told.get("pcie_link.width")
    return f"PCIe {generation}.0 with {width} lanes;" if isinstance(generation, int) and isinstance(width, int) else ""


def _identity(payload: Payload) -> str:
    return "" if payload.device.model is None else f"{words(payload.device.architecture)} as named;"


_REST = "Identity and stability"
"""The tile of everything that no other tile is about, so that nothing which speaks against a card is left out."""

_FACTS: dict[str, Callable[[Payload], str]] = {
    "Compute": _compute,
    "Memory": _memory,
    "Heat and power": _heat,
    "Links": _links,
    _REST: _identity,
}
"""What page one sums up, and the number that each tile shows when all of it passed."""

_OF_PROBE = {
    "sm_answers": "Compute",
    "gemm_exact": "Compute",
    "gemm_sustained": "Compute",
    "load_swings": "Compute",
    "memory_scan": "Memory",
    "memory_under_load": "Memory",
    "memory_bandwidth": "Memory",
    "counters": "Memory",
    "thermal_soak": "Heat and power",
    "heat_cycles": _REST,
    "thermal": "Heat and power",
    "pcie_link": "Links",
    "nvlink": "Links",
    "identity": _REST,
}

_OF_HEAT = {"thermal_throttle", "memory_over_core", "hotspot_over_core"}
"""Measures of heat, whatever was loaded meanwhile."""

_OF_WORD = (
    ("ecc", "Memory"),
    ("memory", "Memory"),
    ("remap", "Memory"),
    ("repair", "Memory"),
    ("retired", "Memory"),
    ("sram", "Memory"),
    ("brake", "Heat and power"),
    ("power", "Heat and power"),
    ("thermal", "Heat and power"),
    ("nvlink", "Links"),
    ("pcie", "Links"),
)
"""Where a finding about the card or the run belongs, by a word in its name."""
