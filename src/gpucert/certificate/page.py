"""The page: one self-contained HTML file, a function of the payload alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from gpucert.certificate import charts
from gpucert.certificate.harmless import harmless
from gpucert.certificate.payload import Bar, Payload, canonical, number
from gpucert.outcome import LOOKS, Outcome, VerdictOutcome
from gpucert.units import Unit, show
from gpucert.verdict.verdict import Finding

LARGEST_BYTES = 1_000_000

TIERS = {
    "A": "multi-GPU training",
    "B": "HPC in FP64",
    "C": "inference around the clock",
    "D": "fine-tuning, development, teaching",
    "E": "graphics, virtual desktops, media",
    "F": "derated or edge use",
    "G": "repair or parts",
    "H": "recycling",
}

TILES = (
    ("Compute", ("sm_answers", "gemm_exact", "gemm_sustained")),
    ("Memory", ("memory_scan", "memory_bandwidth", "counters")),
    ("Heat and power", ("thermal_soak", "thermal")),
    ("Links", ("pcie_link", "nvlink")),
    ("Identity", ("identity", "card", "settings")),
)
"""What page one sums up, and the probes behind each tile."""

_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL, Outcome.SKIPPED, Outcome.PASS, Outcome.NOT_OFFERED)


class PageTooLargeError(ValueError):
    """The page would be larger than a buyer can be asked to keep."""


@dataclass(frozen=True)
class Tile:
    """One of the six boxes of page one."""

    title: str
    outcome: Outcome
    words: str


@dataclass(frozen=True)
class Bullet:
    """A measurement drawn beside its limit and centre; places are percent of the drawn width."""

    bar: Bar
    value_at: float
    limit_at: float
    centre_at: float
    value: str
    limit: str
    centre: str


def render(payload: Payload) -> str:
    """The page of a payload: the same payload gives the same text. Raises PageTooLargeError beyond 1 MB."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("gpucert.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"harmless": lambda text: harmless(str(text)), "shown": _shown, "words": _words}
    chart = charts.timeline(payload)
    page = environment.get_template("certificate.html.j2").render(
        p=payload,
        number=number(payload),
        bytes_of_payload=len(canonical(payload)),
        look=LOOKS[payload.verdict],
        looks=LOOKS,
        tiers=TIERS,
        tiles=tiles(payload),
        bullets=[bullet(bar) for bar in payload.bars],
        chart=None if chart is None else Markup(chart),  # noqa: S704  # drawn by charts.py; its labels are our own words
        findings=_by_probe(payload.findings),
        against=[one for one in payload.findings if one.outcome in {Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL}],
        glossary=GLOSSARY,
        incomplete=payload.verdict is VerdictOutcome.INCOMPLETE,
    )
    size = len(page.encode())
    if size > LARGEST_BYTES:
        raise PageTooLargeError(f"the page would have {size} bytes, more than {LARGEST_BYTES}")
    return page


def tiles(payload: Payload) -> list[Tile]:
    """Six boxes: five sums of findings, and the clearing of memory, which this version does not do."""
    boxes = [_tile(title, [one for one in payload.findings if one.probe in probes]) for title, probes in TILES]
    return [*boxes, Tile("Data clearing", Outcome.SKIPPED, "not performed")]


def _tile(title: str, findings: list[Finding]) -> Tile:
    counted = [one for one in findings if not one.advisory]
    if not counted:
        return Tile(title, Outcome.SKIPPED, "nothing was tested")
    worst = min((one.outcome for one in counted), key=_WORST_FIRST.index)
    same = [one for one in counted if one.outcome is worst]
    if worst is Outcome.PASS:
        return Tile(title, worst, f"{len(same)} findings passed")
    return Tile(title, worst, f"{len(same)} of {len(counted)} findings: {LOOKS[worst].word}")


def bullet(bar: Bar) -> Bullet:
    """Where value, limit and centre lie on a scale from half of the limit's distance outside to beyond the best."""
    places = (bar.value, bar.limit, bar.centre)
    low, high = min(places), max(places)
    room = (high - low) * 0.25 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 1)

    unit = Unit(bar.unit)
    sign = "≥" if bar.better == "higher" else "≤"
    return Bullet(
        bar=bar,
        value_at=place(bar.value),
        limit_at=place(bar.limit),
        centre_at=place(bar.centre),
        value=show(bar.value, unit),
        limit=f"{sign} {show(bar.limit, unit)}",
        centre=show(bar.centre, unit),
    )


def _by_probe(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    """Findings grouped by probe in the order in which probes first appear."""
    order: dict[str, int] = {}
    for finding in findings:
        order.setdefault(finding.probe, len(order))
    ranked = sorted(findings, key=lambda one: order[one.probe])
    return [(probe, list(group)) for probe, group in groupby(ranked, key=lambda one: one.probe)]


def _shown(value: object, unit: str = "") -> str:
    """A value with its unit; text as it is, harmless; nothing for None."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float() if math.isfinite(value):
            known = unit in {one.value for one in Unit}
            return show(value, Unit(unit)) if known else show(value, Unit.COUNT)
        case _:
            return harmless(str(value))


def _words(name: str) -> str:
    """`memory_scan.words_compared` as a person writes it."""
    return harmless(name).replace("_", " ").replace(".", " · ")


GLOSSARY = (
    ("baseline", "what healthy cards of one model measure; n is how many reference cards stand behind it"),
    ("centre", "what a healthy card of this model is expected to measure"),
    ("ECC", "memory that corrects single wrong bits by itself and notices double ones"),
    (
        "evidence grade",
        "prior: no reference card, from published figures; thin: 1–4; developing: 5–19; established: 20+",
    ),
    ("limit", "where a measurement stops being acceptable"),
    ("marginal", "too close to the limit to decide; costs a tier"),
    ("SM", "streaming multiprocessor: one of the many processors of a GPU"),
    ("specimen", "a page that nobody vouches for, because the card was virtual or the page is not signed"),
    ("tier", "the best class of use whose every gate was tested and met"),
    ("u", "standard uncertainty of the measurement on this card; limits are judged with 1.645 u in reserve"),
    ("Xid", "an error number that the NVIDIA driver logs"),
)
