"""Runs of one virtual card to compare: the same silicon tested again and again, in this process, in a second each."""

import hashlib
from functools import cache

from msgspec import structs

from gpucert import record as records
from gpucert.certificate.comparison import render
from gpucert.record import Record
from gpucert.run.plan import PlannedRun, Step, load, ready
from gpucert.trials import in_process
from gpucert.verdict.circumstances import Run
from gpucert.verdict.compare import compare
from gpucert.verdict.comparison import Change, Comparison, Measured
from tests.verdict.judging import judged
from tests.virtual import fault

CARD = 'model = "NVIDIA GeForce RTX 3090"\nseed = 11\nvram_mib = 1\n'
"""With a fan of its own."""
STEPS = {
    "counters": (5.0, {}),
    "pcie_link": (5.0, {}),
    "thermal_soak": (360.0, {"idle_s": 42.0}),
    "memory_scan": (10.0, {"profile": "quick"}),
    "gemm_sustained": (30.0, {}),
    "sm_clock": (5.0, {}),
    "memory_bandwidth": (10.0, {}),
}
PASTE, DUST = fault("interface", scale=3.0), fault("airflow", scale=2.5)
NARROW, BAD_CELL = fault("pcie_width", width=8), fault("stuck_bit", offset=40961, bit=3, value=1)


def plan(**seconds: float) -> PlannedRun:
    """The steps above; other seconds for some, and 0 leaves a step out."""
    wanted = {probe: (seconds.get(probe, told), options) for probe, (told, options) in STEPS.items()}
    wanted["thermal_soak"][1]["heat_s"] = max(wanted["thermal_soak"][0] - 180, 1)
    steps = tuple(Step(probe=probe, seconds=s, options=options) for probe, (s, options) in wanted.items() if s)
    return ready(structs.replace(load("quick"), step=steps))


@cache
def record(*lines: str, number: int = 0, **seconds: float) -> Record:
    """One run of the card; `number` tells which, so that its noise is its own."""
    text = f"{CARD}run = {number}\n" + "\n".join(lines)
    return in_process.run(text, "test", plan(**seconds), seed=5)


@cache
def run(*lines: str, number: int = 0, **seconds: float) -> Run:
    """The same, judged."""
    return of(record(*lines, number=number, **seconds))


def of(told: Record) -> Run:
    """A record, judged."""
    digest = hashlib.sha256(records.encode(told)).hexdigest()
    return Run(told, structs.replace(judged(told), record_sha256=digest))


@cache
def repaired() -> Comparison:
    """New paste, a bad cell that is new, and a narrower slot."""
    return compare(run(PASTE), run(NARROW, BAD_CELL, number=1))


def measure(comparison: Comparison, name: str) -> Measured:
    """One measure of a comparison."""
    (found,) = (one for one in comparison.measures if one.measure == name)
    return found


def changes(comparison: Comparison) -> dict[str, Change]:
    """What became of each measure."""
    return {one.measure: one.change for one in comparison.measures}


def hostile_record(text: str, number: int) -> Record:
    """A record in which every text that can be somebody's is this one."""
    told = record(number=number)
    card = structs.replace(told.card, name=text, serial=text, vbios=f"{text}{number}", inforom_image=f"{text}{number}")
    versions = {**told.versions, "gpucert": f"{text}{number}", "kernels": f"{text}{number}"}
    plan_run = structs.replace(told.plan, name=text)
    return structs.replace(told, card=card, versions=versions, plan=plan_run, started_at=f"{text}{number}")


def hostile(text: str) -> Comparison:
    """Two such records."""
    return compare(of(hostile_record(text, 0)), of(hostile_record(text, 1)))


def page(comparison: Comparison) -> str:
    """Its page."""
    return render(comparison, made_at="2026-11-25T02:00:00+00:00", version="1")
