"""What a card says of itself, judged: identity, modes and limits, and the counters of its life.

Used for a run's record and for a capture alike. Every finding names whose rule it is.
"""

from collections.abc import Iterator

from msgspec import structs

from gpucert.catalogue.matching import Match
from gpucert.catalogue.model import Model
from gpucert.diagnosis import kind_of
from gpucert.outcome import Outcome
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Identity, Process, Record, Settings
from gpucert.units import Unit, show
from gpucert.verdict.parts import Missing, missing
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding

REMAPS_AT_MOST = 512
RETIRED_AT_MOST = 60
RETIRING_FROM, RETIRING_A_WEEK = 15, 1
"""DCGM fails a card with more than 15 pages retired for double-bit errors, of them more than one in seven days."""
PEAK_BANDWIDTH_BELOW = 0.02
"""Data sheets round what clock and bus make: the catalogue is linted by the same share."""
CONTENDING_MIB = 64
"""A display server that holds no more than this uses the card without contending for it."""

_OWN = "gpucert policy"
_NVIDIA_REMAP = "NVIDIA, RMA policy thresholds for row remapping"
_NVIDIA_SRAM = "NVIDIA, RMA policy: SRAM threshold flag"
_DCGM = "DCGM health watch and Azure's retirement rule: 60 pages"
_DCGM_RATE = "DCGM health watch: the rate of page retirement"
_NVML = "NVML"
_CATALOGUE = "gpucert catalogue"

Judged = tuple[tuple[Finding, ...], tuple[Diagnosed, ...]]
_Item = Finding | Diagnosed


def judge_facts(
    identity: Identity,
    settings: Settings,
    counters: Counters,
    match: Match,
    processes: Reading[tuple[Process, ...]] | None = None,
) -> Judged:
    """Findings and diagnoses of what the card answers, without any load. `processes` is None where nobody asked."""
    items = [
        *_identity(identity, match),
        *_peak_bandwidth(identity, match.model),
        *_settings(settings, match),
        *_counters(counters, match),
        *(() if processes is None else _processes(processes)),
    ]
    return (
        tuple(item for item in items if isinstance(item, Finding)),
        tuple(item for item in items if isinstance(item, Diagnosed)),
    )


def diagnosed(
    code: str, evidence: str, confidence: Confidence = "certain", where: str = "", *, advisory: bool = False
) -> Diagnosed:
    """A diagnosis with the action and subject of the table. Raises UnknownDiagnosisError."""
    kind = kind_of(code)
    return Diagnosed(
        code=code,
        where=where,
        confidence=confidence,
        action=kind.action,
        evidence=evidence,
        subject=kind.subject,
        advisory=advisory,
    )


def _finding(
    measure: str, outcome: Outcome, value: object, limit: str, reason: str, authority: str, *, probe: str = "card"
) -> Finding:
    shown = value if isinstance(value, int | float | str) or value is None else str(value)
    if isinstance(shown, bool):
        shown = "yes" if shown else "no"
    return Finding(
        probe=probe,
        measure=measure,
        outcome=outcome,
        value=shown,
        unit="1" if isinstance(shown, int) else "",
        limit=limit,
        reason=reason,
        authority=authority,
    )


def _about_station(finding: Finding) -> Finding:
    """The station's doing, which hides what the card would have answered."""
    return structs.replace(finding, subject="station", hides=True)


# Identity


def _identity(identity: Identity, match: Match) -> Iterator[_Item]:
    lacking = missing(identity, match)
    if match.model is not None:
        yield from _parts(identity, match.model, lacking)
    claims = (("name", match.name_agrees), ("memory_mib", match.memory_agrees), ("cuda_cores", match.cores_agree))
    for field, agrees in claims:
        value = getattr(identity, field)
        if agrees is False and not (field == "cuda_cores" and lacking.tpcs):
            yield _finding(field, Outcome.FAIL, value, "as the model's", match.reason, _CATALOGUE, probe="identity")
    if match.name_agrees is False or (match.cores_agree is False and not lacking.tpcs):
        yield diagnosed("identity.mismatch", match.reason)
    elif match.memory_agrees is False and not lacking.channels:
        yield diagnosed("identity.memory", match.reason)
    if match.model is None and match.name_agrees is not False:
        reason = f"UNGRADED: {match.reason}"
        yield _finding("model", Outcome.SKIPPED, identity.name, "a model of the catalogue", reason, _CATALOGUE)
    elif match.model is not None and not any(agrees is False for _, agrees in claims):
        yield _finding("model", Outcome.PASS, match.model.key, "a model of the catalogue", match.reason, _CATALOGUE)


def _parts(identity: Identity, model: Model, lacking: Missing) -> Iterator[_Item]:
    """Whole parts of the chip that are not there."""
    if lacking.channels:
        width = model.memory.bus_bits
        reason = (
            f"The memory bus has {identity.bus_bits} of the model's {width} bits: {lacking.channels} of its channels"
        )
        reason += f" {'is' if lacking.channels == 1 else 'are'} missing."
        found = _finding(
            "bus_bits", Outcome.FAIL, identity.bus_bits, f"= {width}", reason, _CATALOGUE, probe="identity"
        )
        yield structs.replace(found, unit="bit")
        yield diagnosed("memory.channel", reason)
    if lacking.tpcs:
        sms = lacking.tpcs * model.sms_per_tpc
        reason = f"The chip has {identity.cuda_cores} of the model's {model.cuda_cores} CUDA cores: {sms} of its SMs"
        reason += f" {'is' if sms == 1 else 'are'} missing."
        cores, limit = identity.cuda_cores, f"= {model.cuda_cores}"
        yield _finding("cuda_cores", Outcome.FAIL, cores, limit, reason, _CATALOGUE, probe="identity")
        yield diagnosed("compute.units_missing", reason, "likely")


def _peak_bandwidth(identity: Identity, model: Model | None) -> Iterator[Finding]:
    """What its memory could do at its highest clock, in GB/s: two transfers of the bus width a clock.

    NVML states the clock of every memory type so, HBM2 to GDDR7 (models.md §0). A card that is held below it is as fast
    as others per clock, so that no rate tells. It only advises: board partners and firmware set clocks, and that is no
    fault. A higher clock is the card's gain. nvidia-smi does not state the width, and then the model's stands in.
    """
    clock, stated = identity.max_memory_clock_mhz, identity.bus_bits
    if model is None or isinstance(clock, Absent):
        return
    whose, bits = ("the model's ", model.memory.bus_bits) if isinstance(stated, Absent) else ("", stated)
    peak, expected = 2 * clock * bits / 8000, model.memory.peak_gb_s
    least = (1 - PEAK_BANDWIDTH_BELOW) * expected
    reason = f"Its highest memory clock of {clock} MHz and {whose}{bits} bits make {show(peak, Unit.GBYTE_PER_SECOND)}"
    outcome = Outcome.PASS if peak >= least else Outcome.FAIL
    reason += "." if outcome is Outcome.PASS else f"; the model has {show(expected, Unit.GBYTE_PER_SECOND)}."
    limit = f"≥ {show(least, Unit.GBYTE_PER_SECOND)}"
    found = _finding("peak_bandwidth", outcome, round(peak, 1), limit, reason, _CATALOGUE)
    yield structs.replace(found, unit=Unit.GBYTE_PER_SECOND.value, advisory=True)


# What a person saw


def judge_inspection(record: Record) -> Iterator[Finding]:
    """What the technician found bad before power: software cannot see it, so it counts as it stands."""
    for one in record.inspection:
        if one.state == "bad":
            note = f": {one.note}" if one.note else ""
            reason = f"The technician found {one.item} bad{note}."
            yield _finding(one.item, Outcome.FAIL, "bad", "good", reason, "the technician", probe="inspection")


# Modes and limits


def _settings(settings: Settings, match: Match) -> Iterator[_Item]:
    ships_with_ecc = match.model is not None and match.model.memory.ecc_as_shipped
    if settings.ecc is False and ships_with_ecc:
        reason = "ECC is off on a model that ships with it on."
        yield _about_station(_finding("ecc", Outcome.FAIL, "off", "on, as shipped", reason, _OWN))
        yield diagnosed("config.ecc", reason)
    for mode, now, then in (
        ("ECC", settings.ecc, settings.ecc_pending),
        ("MIG", settings.mig, settings.mig_pending),
    ):
        if isinstance(now, bool) and isinstance(then, bool) and now != then:
            reason = f"{mode} is {_on(now)} now and {_on(then)} after a restart."
            yield _about_station(
                _finding(f"{mode.lower()}_pending", Outcome.FAIL, then, f"as now ({now})", reason, _OWN)
            )
            yield diagnosed("config.pending", reason)
    if settings.mig is True:
        reason = "MIG mode is on: it splits the card and hides its counters."
        yield _about_station(_finding("mig", Outcome.FAIL, "on", "off", reason, _OWN))
        yield diagnosed("config.mig", reason)
    if settings.virtualization == "vgpu":
        reason = "A virtual GPU is a share of a card: what it answers is not what the card is."
        yield _about_station(_finding("virtualization", Outcome.FAIL, "vgpu", "the whole card", reason, _NVML))
        yield diagnosed("config.vgpu", reason)
    yield from _power_limit(settings)


def _on(value: bool) -> str:  # the one thing that it tells
    return "on" if value else "off"


def _power_limit(settings: Settings) -> Iterator[_Item]:
    enforced, default = settings.power_limit_w, settings.power_default_w
    if isinstance(enforced, Absent) or isinstance(default, Absent):
        return
    if enforced < default - 1:
        lowered = f"The power limit is lowered to {enforced:.0f} W; the card's default is {default:.0f} W"
        reason = f"{lowered}, so that nobody knows how it does at full power."
        found = _finding("power_limit", Outcome.FAIL, enforced, f"≥ {default:.0f} W", reason, _NVML)
        yield _about_station(structs.replace(found, unit="W"))
        yield diagnosed("power.limit", reason)


# Counters of the card's life


def _counters(counters: Counters, match: Match) -> Iterator[_Item]:
    yield from _remapping(counters, match)
    yield from _retirement(counters)
    yield from _sram(counters)
    yield from _inforom(counters)
    yield from _history(counters)
    yield from _recovery(counters)


def _remapping(counters: Counters, match: Match) -> Iterator[_Item]:
    count, pending, failed = counters.remapped_uncorrectable, counters.remap_pending, counters.remap_failure
    if failed is True:
        reason = "A memory row could not be remapped: the failure flag is set."
        yield _finding("remap_failure", Outcome.FAIL, "yes", "no", reason, _NVIDIA_REMAP)
        yield diagnosed("memory.row_remap", reason)
    elif isinstance(count, int) and count >= REMAPS_AT_MOST:
        reason = f"{count} rows are remapped after uncorrectable errors."
        yield _finding("remapped_uncorrectable", Outcome.FAIL, count, f"< {REMAPS_AT_MOST}", reason, _NVIDIA_REMAP)
        yield diagnosed("memory.row_remap", reason)
    elif pending is True:
        reason = "A row remap is pending: after the next reset other rows are in use."
        yield _about_station(_finding("remap_pending", Outcome.FAIL, "yes", "no", reason, _NVIDIA_REMAP))
        yield diagnosed("memory.row_remap", reason)
    elif isinstance(count, int) and count > 0:
        reason = f"{count} rows are remapped after uncorrectable errors: disclosed."
        yield _finding("remapped_uncorrectable", Outcome.PASS, count, f"< {REMAPS_AT_MOST}", reason, _NVIDIA_REMAP)
    banks = counters.remap_banks
    if isinstance(banks, Absent):
        return
    *_, low, none = banks
    if low or none:
        reserve = f"of {sum(banks)} banks {low} have one spare row left and {none} none"
        yield diagnosed("memory.remap_reserve", reserve, advisory=True)
    total = match.model.memory.remap_banks if match.model else None
    if total is not None and sum(banks) != total:
        reason = f"The row remapper counts {sum(banks)} banks where the model has {total}."
        yield _finding("remap_banks", Outcome.FAIL, sum(banks), f"= {total}", reason, _CATALOGUE)
        yield diagnosed("identity.mismatch", reason, "likely")


def _retirement(counters: Counters) -> Iterator[_Item]:
    sbe, dbe = counters.retired_sbe, counters.retired_dbe
    if counters.retired_pending is True:
        reason = "A page retirement is pending: it waits for a driver reload."
        yield _about_station(_finding("retired_pending", Outcome.FAIL, "yes", "no", reason, _DCGM))
        yield diagnosed("memory.retired_pages", reason)
    if isinstance(sbe, Absent) or isinstance(dbe, Absent):
        return
    if sbe + dbe >= RETIRED_AT_MOST:
        reason = f"{sbe + dbe} memory pages are retired: {sbe} after single-bit and {dbe} after double-bit errors."
        yield _finding("retired_pages", Outcome.FAIL, sbe + dbe, f"< {RETIRED_AT_MOST}", reason, _DCGM)
        yield diagnosed("memory.retired_pages", reason)
    elif isinstance(lately := counters.retired_dbe_7d, int) and dbe > RETIRING_FROM and lately > RETIRING_A_WEEK:
        reason = f"{lately} of {dbe} pages were retired for double-bit errors within seven days."
        limit = f"≤ {RETIRING_A_WEEK} a week above {RETIRING_FROM}"
        yield _finding("retired_dbe_7d", Outcome.FAIL, lately, limit, reason, _DCGM_RATE)
        yield diagnosed("memory.retired_pages", reason)
    elif sbe + dbe > 0:
        reason = f"{sbe + dbe} memory pages are retired: disclosed."
        yield _finding("retired_pages", Outcome.PASS, sbe + dbe, f"< {RETIRED_AT_MOST}", reason, _DCGM)


def _sram(counters: Counters) -> Iterator[_Item]:
    if counters.sram_threshold_exceeded is True:
        reason = "SRAM errors passed the threshold: its flag is set."
        yield _finding("sram_threshold", Outcome.FAIL, "yes", "no", reason, _NVIDIA_SRAM)
        yield diagnosed("memory.sram", reason)
    if counters.memory_unrepairable is True:
        reason = "The card says that its memory cannot be repaired any more."
        yield _finding("memory_unrepairable", Outcome.FAIL, "yes", "no", reason, _NVML)
        yield diagnosed("memory.row_remap", reason)
    if counters.repair_pending is True:
        reason = "A repair of the card waits for a reset."
        yield _about_station(_finding("repair_pending", Outcome.FAIL, "yes", "no", reason, _NVML))
        yield diagnosed("device.reset_required", reason)


def _inforom(counters: Counters) -> Iterator[_Item]:
    if counters.inforom_valid is False:
        reason = "The checksum of the card's own record (InfoROM) is wrong."
        yield _finding("inforom_valid", Outcome.FAIL, "no", "yes", reason, "NVML, NVML_ERROR_CORRUPTED_INFOROM")
        yield diagnosed("identity.inforom", reason)


def _history(counters: Counters) -> Iterator[_Item]:
    past = counters.ecc_uncorrected_aggregate
    if isinstance(past, int) and past > 0:
        reason = (
            f"{past} uncorrectable errors in the card's life: disclosed. A clean counter would prove no clean past."
        )
        yield structs.replace(
            _finding("ecc_uncorrected_aggregate", Outcome.PASS, past, "", reason, _NVML), advisory=True
        )


def _recovery(counters: Counters) -> Iterator[_Item]:
    action = counters.recovery_action
    asked = isinstance(action, int) and action != 0
    held = next(
        (name for name in Counters.__struct_fields__ if _is_reset(getattr(counters, name))),
        None,
    )
    if asked or held:
        reason = f"The driver asks for recovery action {action}." if asked else f"Reading {held} needs a reset first."
        yield _about_station(_finding("recovery_action", Outcome.FAIL, str(action), "none", reason, _NVML))
        yield diagnosed("device.reset_required", reason)


def _is_reset(value: object) -> bool:
    return isinstance(value, Absent) and value.absent is Absence.RESET_REQUIRED


def _processes(processes: Reading[tuple[Process, ...]]) -> Iterator[_Item]:
    if isinstance(processes, Absent) or not processes:
        return
    known = [process.memory_mib for process in processes if isinstance(process.memory_mib, int)]
    if len(known) == len(processes) and sum(known) <= CONTENDING_MIB:
        return
    several = "another process" if len(processes) == 1 else f"{len(processes)} other processes"
    reason = f"{several[:1].upper()}{several[1:]} used the card ({sum(known)} MiB known)."
    yield _about_station(_finding("processes", Outcome.FAIL, len(processes), "0", reason, _OWN))
    yield diagnosed("station.contention", reason)
