"""Memory pads and hot spot: places that the cooler touches badly while it serves the die's own sensor well.

Pads show under a load of the memory, not under products: by the memory's own sensor, or, where there is none, by heat
that slows the card, or reading that becomes slower, while the die is far below its limit.
"""

from collections.abc import Iterator, Sequence

from gpucert.outcome import Outcome
from gpucert.record import StepRecord
from gpucert.units import Unit, show
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.verdict import Diagnosed, Finding

PROBE = "memory_bandwidth"
FAR_BELOW_C = 15.0
"""A die that is so far below its limit is not what slows the card down."""


def top_c(case: Case) -> float | None:
    """The temperature from which the die is held back: as the card says it, else its model."""
    settings = case.record.settings
    for told in (settings.max_operating_c, settings.slowdown_c):
        if isinstance(told, float):
            return told
    if case.model is None:
        return None
    heat = case.model.thermal
    return heat.max_operating_c or heat.tlimit_zero_c or heat.slowdown_c


def judge_pads(case: Case, found: Sequence[Finding]) -> Iterator[Diagnosed]:
    """What steps that load the memory tell of its pads. `found` is what all steps have shown."""
    for step in case.steps_of(PROBE):
        of = {one.measure: one for one in found if one.probe == PROBE and one.step == step.index}
        failed = {measure for measure, one in of.items() if one.outcome is Outcome.FAIL}
        if "memory_over_core" in failed:
            sure = bool(failed & {"thermal_throttle", "rate_kept"})
            evidence = of["memory_over_core"].reason
        elif step.number("memory_over_core") is None and _cool(case, step):
            sure = "thermal_throttle" in failed
            evidence = _while_cool(step, of, failed)
        else:
            continue
        if evidence:
            advisory = "thermal_throttle" not in failed
            yield diagnosed("thermal.memory_pads", evidence, "likely" if sure else "possible", advisory=advisory)


def judge_hotspot(found: Sequence[Finding]) -> Iterator[Diagnosed]:
    """What the hot-spot sensor shows, where the driver has it: a hint, because no maker says what is usual."""
    for one in found:
        if one.measure == "hotspot_over_core" and one.outcome is Outcome.FAIL:
            yield diagnosed("thermal.hotspot", one.reason, "possible", advisory=True)


def _cool(case: Case, step: StepRecord) -> bool:
    core, top = step.number("core_temperature"), top_c(case)
    return core is not None and top is not None and core <= top - FAR_BELOW_C


def _while_cool(step: StepRecord, of: dict[str, Finding], failed: set[str]) -> str:
    """What slows a card whose die is cool; empty where nothing does."""
    reasons = [of[measure].reason for measure in ("thermal_throttle", "rate_kept") if measure in failed]
    core = step.number("core_temperature")
    if not reasons or core is None:
        return ""
    return " ".join([*reasons, f"The die had {show(round(core, 1), Unit.CELSIUS)}."])
