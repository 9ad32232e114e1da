"""How `gpucert inspect` speaks to a person: one block for each card, readings first, then what speaks against it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from gpucert.capture import Capture
from gpucert.cli.console import console, printable
from gpucert.outcome import LOOKS, Outcome
from gpucert.reading import Absent, Reading
from gpucert.verdict.verdict import Diagnosed, Finding

if TYPE_CHECKING:
    from rich.console import Console

    from gpucert.cli.look import Look

CLOSING = "A read-only look: nothing was loaded, nothing is certified."
_AGAINST = {Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL}


def show(cards: Iterable[tuple[Capture, "Look"]]) -> None:
    """Print every card and the closing sentence on standard output."""
    out = console()
    for capture, look in cards:
        _heading(out, capture, look)
        _facts(out, capture, look)
        _against(out, look)
    out.print(f"\n{CLOSING}")


def _say(out: "Console", text: str, style: str = "") -> None:
    """Print text from outside as it stands: no markup, no control characters, wrapped to the terminal."""
    from rich.text import Text

    out.print(Text(printable(text), style=style, overflow="fold"))


def _heading(out: "Console", capture: Capture, look: "Look") -> None:
    ordinal = f", document {capture.document} of {capture.documents}" if capture.documents > 1 else ""
    taken = "" if isinstance(capture.taken_at, Absent) else f", {capture.taken_at}"
    out.print()
    name = capture.identity.name
    known = "A card without a readable name" if isinstance(name, Absent) else name
    _say(out, f"{known} at {look.bus_id}", "bold")
    _say(out, f"{capture.source}{ordinal}{taken}", "dim")


def _facts(out: "Console", capture: Capture, look: "Look") -> None:
    """What was read, by topic, and under `not read` what was not, by reason: neither hides the other."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for label, text in _rows(capture, look):
        table.add_row(Text(f"  {label}"), Text(printable(text)))
    out.print(table)


def _rows(capture: Capture, look: "Look") -> Iterable[tuple[str, str]]:
    yield "model", f"{look.model if look.graded else 'not graded'}: {look.model_reason}"
    items = tuple(_items(capture))
    for topic in dict.fromkeys(item.topic for item in items):
        known = [item.text for item in items if item.topic == topic and isinstance(item.text, str)]
        if known:
            yield topic, ", ".join(known)
    unread: dict[str, list[str]] = {}
    for item in items:
        if isinstance(item.text, Absent):
            unread.setdefault(str(item.text), []).append(item.name)
    for reason, names in unread.items():
        yield "not read", f"{', '.join(names)}: {reason}"
    for note in capture.notes:
        yield "note", note


class _Item(NamedTuple):
    topic: str
    name: str
    text: Reading[str]


def _items(capture: Capture) -> Iterable[_Item]:
    identity, settings, counters, sample = capture.identity, capture.settings, capture.counters, capture.sample
    yield _item("card", "driver", identity.driver, "driver {}")
    yield _item("card", "serial", identity.serial, "serial {}")
    yield _item("card", "VBIOS", identity.vbios, "VBIOS {}")
    yield _item("memory", "memory size", identity.memory_mib, "{} MiB")
    yield _item("memory", "ECC mode", _word(settings.ecc, "on", "off"), "ECC {}")
    yield _item("errors", "uncorrected errors ever", counters.ecc_uncorrected_aggregate, "{} uncorrected ever")
    yield _item("errors", "uncorrected errors", counters.ecc_uncorrected_volatile, "{} since the driver loaded")
    yield _item("errors", "corrected errors ever", counters.ecc_corrected_aggregate, "{} corrected ever")
    yield _item("errors", "corrected errors", counters.ecc_corrected_volatile, "{} since the driver loaded")
    yield _item("repairs", "remapped rows", counters.remapped_uncorrectable, "{} rows remapped as uncorrectable")
    yield _item("repairs", "remapping pending", _word(counters.remap_pending, "a remap is PENDING", "no remap pending"))
    yield _item("repairs", "remapping failed", _word(counters.remap_failure, "remapping FAILED", "none failed"))
    yield _item("repairs", "retired pages", counters.retired_dbe, "pages retired for double-bit errors: {}")
    yield _item("repairs", "retired pages of single bits", counters.retired_sbe, "for single-bit errors: {}")
    yield _item(
        "repairs", "retirement pending", _word(counters.retired_pending, "a retirement is PENDING", "none pending")
    )
    yield _item("InfoROM", "InfoROM checksum", _word(counters.inforom_valid, "valid", "CORRUPTED"))
    yield _item("moment", "temperature", sample.temperature_c, "{:g} °C")
    yield _item("moment", "power", sample.power_w, "{:g} W")
    yield _item("moment", "power limit", settings.power_limit_w, "limit {:g} W")
    yield _item("moment", "SM clock", sample.sm_clock_mhz, "SM {:g} MHz")
    yield _item("moment", "PCIe generation", sample.pcie_gen, "PCIe generation {}")
    yield _item("moment", "PCIe width", sample.pcie_width, "x{}")


def _item(topic: str, name: str, value: Reading[str] | Reading[int] | Reading[float], form: str = "{}") -> _Item:
    return _Item(topic, name, value if isinstance(value, Absent) else form.format(value))


def _word(value: Reading[bool], yes: str, no: str) -> Reading[str]:
    return value if isinstance(value, Absent) else (yes if value else no)


def _against(out: "Console", look: "Look") -> None:
    for diagnosis in look.diagnoses:
        _diagnosis(out, diagnosis)
    told = {diagnosis.evidence for diagnosis in look.diagnoses}
    for finding in look.findings:
        if finding.reason not in told:
            _finding(out, finding)
    if look.found:
        return
    out.print("  [green]✔[/] Nothing that was read speaks against this card. What could not be read may.")


def _diagnosis(out: "Console", diagnosis: Diagnosed) -> None:
    where = f" at {diagnosis.where}" if diagnosis.where else ""
    whose = "" if diagnosis.subject == "card" else f" ({diagnosis.subject})"
    style = "bold red" if diagnosis.subject == "card" else "bold magenta"
    _say(out, f"  ✘ {diagnosis.code}{where}, {diagnosis.confidence}{whose}", style)
    _say(out, f"    {diagnosis.evidence}")
    _say(out, f"    → {diagnosis.action}")


def _finding(out: "Console", finding: Finding) -> None:
    """Against the card in its colour; what is no fault but must be disclosed (remapped rows, old errors) plainly."""
    look = LOOKS[finding.outcome]
    if finding.outcome in _AGAINST:
        _say(out, f"  {look.symbol} {look.word}: {finding.reason}", look.colour)
    elif finding.outcome is Outcome.PASS and finding.probe != "identity":
        _say(out, f"  · {finding.reason}")
