"""How `gpucert inspect` speaks to a person: one block for each card, readings first, then what speaks against it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gpucert.capture import Capture
from gpucert.certificate import readings
from gpucert.cli.console import console, printable
from gpucert.outcome import LOOKS, Outcome
from gpucert.reading import Absent
from gpucert.verdict.look import Look
from gpucert.verdict.verdict import Diagnosed, Finding

if TYPE_CHECKING:
    from rich.console import Console

CLOSING = "A read-only look: nothing was loaded, nothing is certified."
_AGAINST = {Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL}


def show(cards: Iterable[Look]) -> None:
    """Print every card and the closing sentence on standard output."""
    out = console()
    for card in cards:
        _heading(out, card)
        for capture, before in zip(card.captures, (None, *card.captures), strict=False):
            _source(out, capture)
            _facts(out, _rows(capture) if before is None else _changes(before, capture))
        _facts(out, (("note", note) for note in card.notes))
        _against(out, card)
    out.print(f"\n{CLOSING}")


def _say(out: "Console", text: str, style: str = "", *, indent: int = 0) -> None:
    """Print text from outside as it stands: no markup, no control characters, wrapped within its indent."""
    from rich.padding import Padding
    from rich.text import Text

    words = Text(printable(text), style=style, overflow="fold")
    out.print(Padding(words, (0, 0, 0, indent), expand=False))


def _heading(out: "Console", card: Look) -> None:
    out.print()
    name = card.identity.name
    known = "A card without a readable name" if isinstance(name, Absent) else name
    _say(out, known if isinstance(card.identity.bus_id, Absent) else f"{known} at {card.bus_id}", "bold")
    _facts(out, (("model", f"{card.model if card.graded else 'not graded'}: {card.model_reason}"),))


def _source(out: "Console", capture: Capture) -> None:
    ordinal = f", document {capture.document} of {capture.documents}" if capture.documents > 1 else ""
    taken = "" if isinstance(capture.taken_at, Absent) else f", {capture.taken_at}"
    _say(out, f"{capture.source}{ordinal}{taken}", "dim")


def _facts(out: "Console", rows: Iterable[tuple[str, str]]) -> None:
    """What was read, by topic, and under `not read` what was not, by reason: neither hides the other."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold", min_width=10 if out.width > 60 else None)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(Text(f"  {label}"), Text(printable(text)))
    if table.row_count:
        out.print(table)


def _rows(capture: Capture) -> Iterable[tuple[str, str]]:
    items = readings.items(capture)
    for topic in dict.fromkeys(item.topic for item in items):
        known = [item.text for item in items if item.topic == topic and isinstance(item.text, str)]
        if known:
            yield topic, ", ".join(known)
    for reason, names in readings.unread((capture,)).items():
        yield "not read", f"{names}: {reason}"


def _changes(before: Capture, after: Capture) -> Iterable[tuple[str, str]]:
    """What a further capture of the card says that the one above it does not."""
    same = {(item.name, str(item.text)) for item in readings.items(before)}
    new = [item for item in readings.items(after) if item.known and (item.name, item.text) not in same]
    for topic in dict.fromkeys(item.topic for item in new):
        yield topic, ", ".join(str(item.text) for item in new if item.topic == topic)
    if not new:
        yield "", "as above"
    gone = ", ".join(one.name for one, other in _pairs(before, after) if one.known and not other.known)
    if gone:
        yield "not read", f"{gone}: not here"


def _pairs(before: Capture, after: Capture) -> Iterable[tuple[readings.Item, readings.Item]]:
    return zip(readings.items(before), readings.items(after), strict=True)


def _against(out: "Console", card: Look) -> None:
    for diagnosis in card.diagnoses:
        _diagnosis(out, diagnosis)
    told = tuple(diagnosis.evidence for diagnosis in card.diagnoses)
    for finding in card.findings:
        if not any(
            one.startswith(finding.reason.rstrip(".")) for one in told
        ):  # a diagnosis may name its file after it
            _finding(out, finding)
    if card.found:
        return
    out.print("  [green]✔[/] Nothing that was read speaks against this card. What could not be read may.")


def _diagnosis(out: "Console", diagnosis: Diagnosed) -> None:
    where = f" at {diagnosis.where}" if diagnosis.where else ""
    whose = "" if diagnosis.subject == "card" else f" ({diagnosis.subject})"
    style = "bold red" if diagnosis.subject == "card" else "bold magenta"
    _say(out, f"✘ {diagnosis.code}{where}, {diagnosis.confidence}{whose}", style, indent=2)
    _say(out, diagnosis.evidence, indent=4)
    _say(out, f"→ {diagnosis.action}", indent=4)


def _finding(out: "Console", finding: Finding) -> None:
    """Against the card in its colour; what is no fault but must be disclosed (remapped rows, old errors) plainly."""
    look = LOOKS[finding.outcome]
    if finding.outcome in _AGAINST:
        _say(out, f"{look.symbol} {look.word}: {finding.reason}", look.colour, indent=2)
    elif finding.outcome is Outcome.PASS and finding.probe != "identity" and finding.measure != "model":
        _say(out, f"· {finding.reason}", indent=2)
