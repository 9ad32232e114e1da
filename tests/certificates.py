"""Payloads to make pages of, without running anything; run as a module, it renews the golden page.

.venv-test/bin/python -m tests.certificates
"""

import math
from pathlib import Path

import msgspec
from msgspec import structs

from gpucert.certificate import page
from gpucert.certificate.payload import (
    Attempt,
    Bar,
    Change,
    Count,
    Device,
    Happening,
    Payload,
    Phase,
    Rate,
    Series,
    WrongWords,
)
from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.record import Inspection, PlanRun, Station
from gpucert.verdict.verdict import Diagnosed, Finding, NotTested, Source, Unmet

GOLDEN = Path(__file__).parent / "golden"
PAYLOAD = GOLDEN / "certificate-payload.json"
PAGE = GOLDEN / "certificate.html"

_PRIOR = "baseline of 0 cards, evidence prior; prior: 128 FLOP/clk/SM by specification × 0.96 achieved (± 2%)"
_ALWAYS = (
    NotTested("the card by eye", "not inspected: nobody filled in the checklist"),
    NotTested("graphics, encoders, decoders and displays (tier E)", "no probe for them exists yet"),
    NotTested("operation under a lower power cap (tier F)", "no re-test under a cap exists yet"),
    NotTested("heat of connectors, cracks, liquid, corrosion", "software cannot see them"),
    NotTested("clearing of the memory", "it is no step of this plan"),
)


def finding(probe: str, measure: str, outcome: Outcome = Outcome.PASS, **fields: object) -> Finding:
    """A finding; what is not given is of a healthy count."""
    told: dict[str, object] = {"value": 0, "unit": "1", "limit": "≤ 0", "reason": "0.", "step": 4}
    return Finding(probe=probe, measure=measure, outcome=outcome, authority="gpucert policy", **{**told, **fields})  # type: ignore[arg-type]


def unmet(
    tier: str, gate: str, outcome: Outcome, reason: str, value: str = "–", limit: str = "–", subject: str = "card"
) -> Unmet:
    return Unmet(tier=tier, gate=gate, outcome=outcome, value=value, limit=limit, reason=reason, subject=subject)  # type: ignore[arg-type]


def bar(probe: str, measure: str, value: float, centre: float, limit: float, **fields: object) -> Bar:
    told: dict[str, object] = {
        "unit": "FLOP/clk/SM", "u": None, "outcome": Outcome.PASS, "advisory": False, "step": 7, "of_steps": 1,
        "better": "higher", "n": 0, "grade": "prior", "source": "prior",
    }  # fmt: skip
    return Bar(probe=probe, measure=measure, value=value, centre=centre, limit=limit, **{**told, **fields})  # type: ignore[arg-type]


def cooling(measure: str, value: float, centre: float, limit: float, outcome: Outcome = Outcome.PASS) -> Bar:
    unit = {"unit": "°C/W", "better": "lower", "advisory": True, "step": 3}
    return bar("thermal", measure, value, centre, limit, outcome=outcome, **unit)


def series(points: int = 200) -> dict[str, Series]:
    at_s = tuple(float(second) for second in range(points))
    return {
        "temperature_c": Series(at_s, tuple(40 + 20 * (1 - math.exp(-second / 40)) for second in at_s)),
        "power_w": Series(at_s, tuple(None if second < 3 else 390.0 for second in at_s)),
        "sm_clock_mhz": Series(at_s, tuple(1410.0 for _ in at_s)),
    }


def healthy() -> Payload:
    """A certified card with everything that a page can hold and nothing against it."""
    standard = "The plan standard is too short; plan burnin --hours 12 tests it."
    few = "The baseline rests on 0 reference cards; 5 are asked for."
    return Payload(
        kind="certificate",
        specimen=("simulated", "unsigned"),
        issued_at="2026-11-24T10:00:00+00:00",
        tested_from="2026-11-24T09:00:00+00:00",
        tested_to="2026-11-24T09:50:00+00:00",
        attempt=Attempt(number=1, since="2026-11-24T09:00:00+00:00"),
        device=Device(
            name="NVIDIA A100-SXM4-80GB", model="NVIDIA A100-SXM4-80GB", serial="…0997", uuid="…ce98",
            bus_id="00000000:65:00.0", part_number="900-2VIRT-0000-000", vbios="92.00.00.00.01", driver="580.95.05",
            architecture="Ampere", form_factor="SXM4", memory="80 GiB HBM2e", memory_mib=81920, window_mib=16,
        ),
        plan=PlanRun(name="standard", version=1, yields="certificate", best_tier="D", sha256="a" * 64),
        verdict=VerdictOutcome.CERTIFIED,
        tier="D",
        sentence="Met the gates of policy standard 1 for class D (fine-tuning, development, teaching) on 2026-11-24.",
        findings=(
            finding("card", "model", value="NVIDIA A100-SXM4-80GB", unit="", limit="of the catalogue", step=None),
            finding("identity", "sm_count", value=108, limit="= 108", step=0),
            finding("counters", "retired_pages", Outcome.NOT_OFFERED, value="not supported", limit="", step=1,
                    reason="This model has no such part."),
            finding("pcie_link", "width", value=16, limit="≥ 16", step=2, subject="station"),
            finding("thermal_soak", "thermal_throttle", value=0.0, unit="%", limit="≤ 10\u202f%", step=3),
            finding("memory_scan", "coverage", value=98.9, unit="%", limit="≥ 97\u202f%"),
            finding("memory_scan", "wrong_words"),
            finding("memory_scan", "wrong_words", step=9),
            finding("sm_answers", "sms_reached", value=108, limit="= 108", step=5),
            finding("gemm_sustained", "fp64_per_clock", value=122.0, unit="FLOP/clk/SM",
                    limit="≥ 114.5\u202fFLOP/clk/SM", step=7, reason="0.7 % below what healthy cards measure."),
            finding("thermal", "fast", value=0.049, unit="°C/W", limit="≤ 0.085\u202f°C/W", step=3, advisory=True),
        ),
        diagnoses=(),
        why_not_higher=(
            unmet("A", "length of the plan", Outcome.SKIPPED, standard),
            unmet("A", "gemm_sustained.bf16_per_clock", Outcome.SKIPPED, few),
            unmet("A", "gemm_sustained.fp16_per_clock", Outcome.SKIPPED, few),
            unmet("B", "FP64 rate", Outcome.NOT_OFFERED, "The silicon is not made for it.", "below half", "half"),
            unmet("B", "length of the plan", Outcome.SKIPPED, standard),
            unmet("C", "length of the plan", Outcome.SKIPPED, standard),
        ),
        not_tested=_ALWAYS,
        also_qualifies=(),
        bars=(
            bar("gemm_sustained", "fp64_per_clock", 122.0, 123.0, 114.5, u=1.2),
            bar("memory_bandwidth", "read_per_clock", 1125.0, 1126.0, 1050.0, unit="B/clk", of_steps=12, step=8),
            cooling("fast", 0.049, 0.05, 0.085),
        ),
        rates=(
            Rate("gemm_sustained.fp64_per_clock", 122.0, "FLOP/clk/SM", 1.2, 90),
            Rate("pcie_link.generation", 4, "1", None, 1),
            Rate("pcie_link.width", 16, "1", None, 1),
        ),
        phases=tuple(
            Phase(index=place, probe=probe, status="ran", reason="", began_s=20.0 * place, ended_s=20.0 * place + 20)
            for place, probe in enumerate(("identity", "thermal_soak", "memory_scan", "gemm_sustained"))
        ),
        series=series(),
        events=(Happening(kind="resumed", code="", text="went on", times=1, first_s=60.0, last_s=60.0),),
        marks=(60.0,),
        changes=(Change("energy_mj", 5, 900_000, True), Change("remap_failure", "no", "no", False)),
        station=Station(os="Linux 6.18 x86_64", python="3.11.7", cpu_count=16, clock_utc="2026-11-24T09:00:00+00:00"),
        inlet_c=24.0,
        inspection=(Inspection("connector", "good", "no marks"),),
        versions={"gpucert": "0.1.0", "driver": "580.95.05"},
        seed=7,
        policy=Source("standard", 1, "b" * 64),
        baseline=Source("NVIDIA A100-SXM4-80GB", 1, "c" * 64),
        record_sha256="d" * 64,
        verdict_sha256="e" * 64,
    )  # fmt: skip


def failed() -> Payload:
    """A card with wrong words, with advice about its paste and a narrow slot beside it."""
    card = healthy()
    wrong = "Words of memory came back other than they were written. Measured 11, limit ≤ 0."
    return structs.replace(
        card,
        verdict=VerdictOutcome.NOT_CERTIFIED,
        tier="G",
        sentence="Not certified on 2026-11-24: a memory cell holds the wrong value again after it was rewritten.",
        findings=(
            *card.findings,
            finding("memory_scan", "wrong_words", Outcome.FAIL, value=11, reason=wrong, step=14),
            finding("thermal", "slow", Outcome.FAIL, value=0.2, unit="°C/W", limit="≤ 0.1\u202f°C/W", advisory=True),
            finding("pcie_link", "width", Outcome.FAIL, value=8, limit="≥ 16", step=12, subject="station",
                    reason="8 of the card's 16 PCIe lanes are in use."),
        ),
        diagnoses=(
            diagnosed("memory.hard", "card", "11 wrong words; bit 3", where="offset 0xa000"),
            structs.replace(
                diagnosed("thermal.airflow", "card", "0.2\u202f°C/W from the fins to the air", confidence="possible"),
                advisory=True,
            ),
            diagnosed("link.pcie_width", "station", "8 of the card's 16 PCIe lanes are in use."),
        ),
        why_not_higher=(*card.why_not_higher, unmet("D", "memory_scan.wrong_words", Outcome.FAIL, wrong, "11", "≤ 0")),
        bars=(*card.bars, cooling("slow", 0.2, 0.06, 0.1, Outcome.FAIL)),
        wrong_words=WrongWords(
            words=11, compares=40, tested_bytes=16 << 20, places=(Count(1, 8), Count(300, 2), Count(511, 1)),
            lanes=(Count(3, 9), Count(255, 2)), flips=(Count(1, 11),), sms=(Count(9, 11),),
        ),
    )  # fmt: skip


def incomplete() -> Payload:
    """A run in which another process held the memory."""
    card = healthy()
    held = "1 other processes used the card (4 MiB known)."
    return structs.replace(
        card,
        verdict=VerdictOutcome.INCOMPLETE,
        tier=None,
        sentence=f"Incomplete on 2026-11-24, so nothing is said about the card: {held}",
        findings=(
            *card.findings,
            finding("card", "processes", Outcome.FAIL, value=1, limit="0", reason=held, subject="station", hides=True),
        ),
        diagnoses=(diagnosed("station.contention", "station", held),),
        why_not_higher=(*card.why_not_higher, unmet("D", "card.processes", Outcome.FAIL, held, "1", "0", "station")),
    )


def report() -> Payload:
    """The report of a short plan."""
    sentence = "A short plan found nothing against the card on 2026-11-24; it proves no health and certifies nothing."
    return structs.replace(healthy(), kind="report", verdict=VerdictOutcome.REPORTED, tier=None, sentence=sentence)


def burnin(cycles: int = 36) -> Payload:
    """A night of burn-in: every cycle measures a little otherwise."""
    card = healthy()
    cycled = (
        finding(probe, measure, value=value + cycle % 7, unit=unit, limit=limit, step=5 * cycle, reason=f"{cycle}.")
        for cycle in range(cycles)
        for probe, measure, value, unit, limit in (
            ("memory_scan", "rounds", 1, "1", "≥ 1"),
            ("memory_scan", "self_test_found", 66, "1", f"= {66 + cycle % 7}"),
            ("gemm_sustained", "fp16_per_clock", 1790.0, "FLOP/clk/SM", "≥ 1\u202f680\u202fFLOP/clk/SM"),
        )
    )  # fmt: skip
    phases = tuple(
        Phase(
            index=place, probe="memory_scan", status="ran", reason="", began_s=20.0 * place, ended_s=20.0 * place + 20
        )
        for place in range(5 * cycles)
    )
    return structs.replace(card, findings=(*card.findings, *cycled), phases=phases)


def diagnosed(code: str, subject: str, evidence: str, confidence: str = "certain", where: str = "") -> Diagnosed:
    action = "Stop the process (`nvidia-smi` lists it) and test again."
    return Diagnosed(
        code=code, where=where, confidence=confidence, action=action, evidence=evidence, subject=subject,  # type: ignore[arg-type]
    )  # fmt: skip


KINDS = {"healthy": healthy, "failed": failed, "incomplete": incomplete, "report": report, "burnin": burnin}


def with_text(payload: Payload, text: str) -> Payload:
    """The payload with this text in every field that a card, a driver, a file or a person fills."""
    card = payload.device
    names = {name: text for name in card.__struct_fields__ if isinstance(getattr(card, name), str)}
    return structs.replace(
        payload,
        device=structs.replace(card, **names),
        sentence=text,
        findings=(
            *payload.findings,
            *(
                finding(probe, text, outcome, value=text, unit=text, limit=text, reason=text, advisory=advisory)
                for probe in (text, "run", "memory_scan")
                for outcome in (Outcome.FAIL, Outcome.SKIPPED)
                for advisory in (True, False)
            ),
        ),
        diagnoses=(
            *(diagnosed(text, subject, text, where=text) for subject in ("card", "station", "note")),
            *payload.diagnoses,
        ),
        why_not_higher=(unmet("A", text, Outcome.FAIL, text, text, text), *payload.why_not_higher),
        not_tested=(NotTested(text, text), *payload.not_tested),
        phases=(Phase(index=0, probe=text, status="error", reason=text, began_s=0.0, ended_s=9.0), *payload.phases),
        events=(Happening(kind="note", code=text, text=text, times=2, first_s=1.0, last_s=2.0),),
        rates=(Rate(text, text, text, None, 1), *payload.rates),
        changes=(Change(text, text, text, True), *payload.changes),
        station=structs.replace(payload.station, os=text),
        inspection=(Inspection(text, "bad", text),),
        versions={**payload.versions, text: text},
        plan=structs.replace(payload.plan, name=text),
        policy=Source(text, 1, text),
        baseline=Source(text, 1, text),
        attempt=Attempt(1, text),
        issued_at=text,
        tested_from=text,
        record_sha256=text,
    )


def golden() -> Payload:
    """The golden payload: it has no telemetry, because the paths of a chart differ between versions of matplotlib."""
    return structs.replace(failed(), series={})


def renew() -> None:
    """Write the golden payload and its page."""
    GOLDEN.mkdir(exist_ok=True)
    PAYLOAD.write_bytes(msgspec.json.format(msgspec.json.encode(golden()), indent=1) + b"\n")
    PAGE.write_text(page.render(golden()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    renew()
