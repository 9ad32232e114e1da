"""The page as text: a function of its payload, in words that a buyer reads, with hostile text held inside."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gpucert.certificate import advice, bullets, fold, places, reasons
from gpucert.certificate.harmless import harmless
from gpucert.certificate.page import render
from gpucert.certificate.payload import LANES, PLACES, Count, Happening, Payload
from gpucert.certificate.templates import LARGEST_BYTES, PageTooLargeError, prose
from gpucert.certificate.tiles import Tile, tiles
from gpucert.certificate.words import STATION
from gpucert.outcome import LOOKS, Outcome, VerdictOutcome
from gpucert.verdict.verdict import Finding
from tests import certificates
from tests.certificates import bar, cooling, diagnosed, finding, unmet
from tests.test_certificate_payload import TEXT

ROOT = Path(__file__).parent.parent
TARGET_BYTES = 300_000
EMPTY = {"meta", "rect", "line", "circle", "path", "use", "br"}


class Page(HTMLParser):
    """What a page is made of: elements with attributes, and the text beside them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


# A function of the payload


def test_the_golden_payload_makes_the_golden_page() -> None:
    """Renew both with `python -m tests.certificates`, and look at what changed."""
    payload = msgspec.json.decode(certificates.PAYLOAD.read_bytes(), type=Payload)
    assert payload == certificates.golden()
    assert render(payload).encode() == certificates.PAGE.read_bytes()


def test_another_process_makes_the_same_page() -> None:
    """With telemetry, other hashes and another clock."""
    code = "from tests.certificates import failed, page; print(page.render(failed()), end='')"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONIOENCODING": "utf-8"}
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, env=environment
    ).stdout
    assert made == render(certificates.failed()).encode()
    assert b"timeline-title" in made


@pytest.mark.parametrize("kind", certificates.KINDS)
def test_the_page_is_whole_and_small_and_asks_for_nothing(kind: str) -> None:
    source = render(certificates.KINDS[kind]())
    page = Page(source)
    assert page.open == []
    assert len(source.encode()) < TARGET_BYTES
    assert {tag for tag, _ in page.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "a", "form", "base", "object"}
    )
    assert not re.search(r"(https?:|//|@import|url\((?!#))", source.replace("http-equiv", ""))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "None" not in page.words
    assert "SPECIMEN" in page.words


def test_a_page_that_nobody_could_keep_is_refused() -> None:
    many = tuple(finding("run", f"m{place}", Outcome.FAIL, reason="x" * 600) for place in range(2000))
    with pytest.raises(PageTooLargeError, match=str(LARGEST_BYTES)):
        render(structs.replace(certificates.golden(), findings=many))


def test_a_policy_of_ones_own_has_no_letter() -> None:
    page = Page(render(structs.replace(certificates.golden(), tier="custom", verdict=VerdictOutcome.CERTIFIED)))
    assert "tier custom, of a custom policy" in page.words
    assert not [one for one in page.elements if one[1].get("class") == "letter"]


def test_a_storm_of_events_stays_small() -> None:
    many = tuple(Happening(kind="xid", code=str(n), text="x" * 200, times=9, first_s=0, last_s=9) for n in range(1000))
    payload = structs.replace(certificates.healthy(), events=many, marks=tuple(map(float, range(41))))
    source = render(payload)
    assert len(source.encode()) < TARGET_BYTES
    assert "And 940 other kinds of events" in source


# Folding


def rows(*findings: Finding) -> tuple[fold.Row, ...]:
    (group,) = fold.groups(findings)
    return group.rows


def test_equal_findings_share_a_row() -> None:
    assert [row.steps for row in rows(finding("a", "b", step=1), finding("a", "b", step=10))] == ["steps 2, 11"]
    night = [finding("a", "b", step=5 * cycle) for cycle in range(14)]
    assert [row.steps for row in rows(*night)] == ["14 steps"]


def test_a_row_of_passes_shows_its_range_and_what_came_nearest_to_the_limit() -> None:
    (row,) = rows(
        *(
            finding("a", "b", value=value, unit="W", limit="≥ 5\u202fW", reason=f"{value} it was.", step=place)
            for place, value in enumerate((9, 6, 8))
        )
    )
    assert row.value == "6 to 9\u202fW"
    assert row.reason == "Nearest to the limit, in step 2: 6 it was."


def test_passes_that_each_equal_their_own_number_share_a_row() -> None:
    (row,) = rows(finding("a", "b", value=66, limit="= 66"), finding("a", "b", value=70, limit="= 70", step=9))
    assert (row.value, row.limit) == ("66 to 70", "equal in each step")


ANY = st.builds(
    finding,
    probe=st.just("a"),
    measure=st.sampled_from("bc"),
    outcome=st.sampled_from(Outcome),
    value=st.one_of(st.none(), st.integers(0, 2), st.text(max_size=2)),
    limit=st.sampled_from(("≥ 1", "≤ 1", "= 1", "= 2", "")),
    reason=st.sampled_from(("one.", "two.")),
    step=st.one_of(st.none(), st.integers(0, 9)),
    subject=st.sampled_from(("card", "station")),
    advisory=st.booleans(),
    hides=st.booleans(),
)


@given(st.lists(ANY, min_size=1, max_size=30))
def test_no_row_of_passes_hides_anything_else(findings: list[Finding]) -> None:
    others = {(one.measure, one.outcome, one.value, one.reason) for one in findings if one.outcome is not Outcome.PASS}
    shown = rows(*findings)
    assert len([row for row in shown if row.look != LOOKS[Outcome.PASS]]) >= len(others)
    assert any(row.look == LOOKS[Outcome.PASS] for row in shown) == any(one.outcome is Outcome.PASS for one in findings)


def test_what_failed_stands_before_what_passed_and_apart() -> None:
    wrong = [finding("a", "b", Outcome.FAIL, value=value, step=place) for place, value in enumerate((3, 5, 3))]
    shown = rows(finding("a", "b"), *wrong)
    assert [(row.look.word, row.value, row.steps) for row in shown] == [
        ("FAIL", "3", "steps 1, 3"),
        ("FAIL", "5", "step 2"),
        ("pass", "0", "step 5"),
    ]


# Tiles


def tile(title: str, payload: Payload) -> Tile:
    return next(one for one in tiles(payload) if one.title == title)


def test_a_tile_says_what_failed() -> None:
    memory = tile("Memory", certificates.failed())
    assert (memory.look, memory.words) == (LOOKS[Outcome.FAIL], "Wrong words: 11, limit ≤ 0.")


def test_heat_under_a_load_of_the_memory_is_no_fault_of_the_memory() -> None:
    hot = finding("memory_bandwidth", "thermal_throttle", Outcome.FAIL, value=60.0, unit="%", limit="≤ 10\u202f%")
    card = structs.replace(certificates.healthy(), findings=(*certificates.healthy().findings, hot))
    assert tile("Memory", card) == tile("Memory", certificates.healthy())
    assert tile("Heat and power", card).look == LOOKS[Outcome.FAIL]


def test_a_tile_counts_in_words_that_agree() -> None:
    assert tile("Compute", certificates.healthy()).words == "108 SMs gave the known answers; 2 findings, all passed."
    assert tile("Heat and power", certificates.healthy()).words.endswith("1 finding, passed.")


def test_a_fault_of_the_station_does_not_look_like_one_of_the_card() -> None:
    links = tile("Links", certificates.failed())
    assert links.look == STATION
    assert "8 of the card's 16 PCIe lanes" in links.words


def test_advice_does_not_make_a_tile_fail() -> None:
    heat = tile("Heat and power", certificates.failed())
    assert heat.look == LOOKS[Outcome.PASS]
    assert heat.advice == "Fins to air: 0.2\u202f°C/W, limit ≤ 0.1\u202f°C/W"


@given(st.text(), st.text(), st.sampled_from([Outcome.FAIL, Outcome.ERROR, Outcome.SKIPPED, Outcome.MARGINAL]))
def test_nothing_that_is_not_a_pass_is_missing_from_the_tiles(probe: str, measure: str, outcome: Outcome) -> None:
    payload = structs.replace(certificates.golden(), findings=(finding(probe, measure, outcome),))
    assert LOOKS[outcome] in {one.look for one in tiles(payload) if one.title != "Data clearing"}


@pytest.mark.parametrize("findings", [(), (finding("memory_scan", "coverage", advisory=True),)])
def test_a_tile_of_nothing_is_not_a_pass(findings: tuple[object, ...]) -> None:
    payload = structs.replace(certificates.golden(), findings=findings)
    assert {one.look for one in tiles(payload)} == {LOOKS[Outcome.SKIPPED]}


# Why not higher


def test_equal_reasons_are_given_once_and_silicon_ends_the_matter() -> None:
    tiers = {one.title: one.lines for one in reasons.why_not_higher(certificates.healthy())}
    assert list(tiers) == ["A: multi-GPU training", "B: HPC in FP64", "C: inference around the clock"]
    assert [line.what for line in tiers["A: multi-GPU training"]] == [
        "Length of the plan",
        "BF16 per clock, FP16 per clock",
    ]
    (silicon,) = tiers["B: HPC in FP64"]
    assert silicon.why == "FP64 rate below half, asked for half"


def test_of_a_failed_card_the_gate_that_failed_comes_first() -> None:
    first = reasons.why_not_higher(certificates.failed())[0]
    assert first.title == "Any tier"
    assert [(line.what, line.look) for line in first.lines] == [("Wrong words", LOOKS[Outcome.FAIL])]


def test_what_the_station_did_is_not_held_against_the_card() -> None:
    (line,) = reasons.why_not_higher(certificates.incomplete())[0].lines
    assert line.look == STATION


def test_gates_that_say_the_same_of_themselves_are_one() -> None:
    probes = ("memory_scan", "gemm_exact")
    gates = tuple(unmet("D", one, Outcome.SKIPPED, f"{one} was not run, so nothing is known.") for one in probes)
    (tier,) = reasons.why_not_higher(structs.replace(certificates.healthy(), why_not_higher=gates))
    (line,) = tier.lines
    assert (line.what, line.why) == ("Memory scan, Exact matrix products", "Was not run, so nothing is known.")


# Diagnoses


def test_faults_station_and_advice_have_sections_of_their_own() -> None:
    told = {one.style: [each.diagnosed.code for each in one.told] for one in advice.sections(certificates.failed())}
    assert told == {"fault": ["memory.hard"], "station": ["link.pcie_width"], "advice": ["thermal.airflow"]}


def test_what_a_certificate_was_given_in_spite_of_is_advice() -> None:
    payload = structs.replace(certificates.healthy(), diagnoses=(diagnosed("thermal.airflow", "card", "warm"),))
    assert [one.style for one in advice.sections(payload)] == ["advice"]


def test_a_code_of_another_version_is_told_as_it_is() -> None:
    payload = structs.replace(certificates.failed(), diagnoses=(diagnosed("new.code", "card", "odd"),))
    assert "new.code" in Page(render(payload)).words


# Bullets


def test_limit_centre_and_mark_lie_in_order_on_one_axis() -> None:
    (panel,) = bullets.panels(
        structs.replace(certificates.golden(), bars=(bar("a", "b", 110, 100, 90), bar("a", "c", 80, 200, 90)))
    )
    good, bad = panel.bullets
    assert good.limit_at < good.centre_at < good.value_at
    assert bad.limit_at - bad.value_at > 0
    assert good.centre_at == bad.centre_at
    assert (good.bad_from, good.bad_width) == (0.0, good.limit_at)
    assert [tick.label for tick in panel.ticks if tick.at == good.centre_at] == ["100\u202f%"]


def test_less_is_better_shades_the_other_side() -> None:
    (panel,) = bullets.panels(structs.replace(certificates.golden(), bars=(cooling("fast", 0.05, 0.05, 0.08),)))
    (row,) = panel.bullets
    assert row.centre_at < row.limit_at == row.bad_from
    assert row.bad_from + row.bad_width == pytest.approx(100)


@given(
    st.lists(
        st.builds(
            bar,
            probe=st.just("a"),
            measure=st.just("b"),
            value=st.floats(0, 1e9),
            centre=st.floats(1e-3, 1e9),
            limit=st.floats(0, 1e9),
            u=st.one_of(st.none(), st.floats(0, 1e3)),
            better=st.sampled_from(("higher", "lower")),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_every_mark_lies_inside_of_the_drawing(bars: list[object]) -> None:
    (panel,) = bullets.panels(structs.replace(certificates.golden(), bars=tuple(bars)))
    assert len(panel.ticks) <= 2 * bullets.MOST_TICKS
    for row in panel.bullets:
        places = (row.value_at, row.limit_at, row.centre_at, *(row.whisker or ()), *(tick.at for tick in panel.ticks))
        assert all(0 <= place <= 100 for place in places)
        assert 0 <= row.bad_from <= row.bad_from + row.bad_width <= 100.1


def test_a_whisker_too_short_to_see_is_left_out() -> None:
    wide, narrow = (bar("a", "b", 100, 100, 90, u=u) for u in (2.0, 0.001))
    (panel,) = bullets.panels(structs.replace(certificates.golden(), bars=(wide, narrow)))
    assert [row.whisker is not None for row in panel.bullets] == [True, False]


# Wrong words


def counts(below: int) -> st.SearchStrategy[tuple[Count, ...]]:
    words = st.dictionaries(st.integers(0, below - 1), st.integers(1, 10**6), max_size=below)
    return words.map(lambda found: tuple(Count(number, found[number]) for number in sorted(found)))


@given(counts(PLACES), counts(LANES))
def test_every_wrong_word_lies_inside_of_the_drawing_and_is_seen(
    along: tuple[Count, ...], lanes: tuple[Count, ...]
) -> None:
    failed = certificates.failed()
    assert failed.wrong_words is not None
    drawn = places.drawing(
        structs.replace(failed, wrong_words=structs.replace(failed.wrong_words, places=along, lanes=lanes))
    )
    assert drawn is not None
    assert [len(drawn.marks), len(drawn.cells)] == [len(along), len(lanes)]
    assert all(0 <= one.at < one.at + one.width <= 100.1 and 0 < one.height <= 100 for one in drawn.marks)
    assert all(0 <= one.bit < 64 and 0 <= one.word < 4 and 0 < one.strength <= 1 for one in drawn.cells)


def test_wrong_words_are_told_in_words_as_well() -> None:
    words = "11 wrong words located, of 40 failed compares; 2 of 256 bits of a sector concerned; 1 flipped bit in each"
    assert f"{words}; read by SM 9." in Page(render(certificates.failed())).words
    assert "Where the memory was wrong" not in Page(render(certificates.healthy())).words


def test_memory_of_unknown_size_is_not_drawn_to_scale() -> None:
    failed = certificates.failed()
    assert failed.wrong_words is not None
    unknown = structs.replace(failed.wrong_words, tested_bytes=None, places=())
    page = Page(render(structs.replace(failed, wrong_words=unknown)))
    assert "By the bits of a sector" in page.words
    assert "Along the tested memory" not in page.words


# Hostile text

NASTY = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "<script>alert(1)</script>", "</style><script>alert(1)</script>", "</title><img src=x onerror=alert(1)>",
            "\"'><svg onload=alert(1)>", "{{ 7 * 7 }}", "{% include '/etc/passwd' %}", "\u202e\u2066evil\u2069",
            "\x00\x1b[31m\x9b", "a\u0301" + "\u0301" * 500, "javascript:alert(1)", "]]>", "<!--", "&#60;script&#62;",
            "\u202f".join("1" * 50) + "\u202fFLOP/clk/SM<b>", "`<b>`", "= 1 2026-01-01<i>", "x" * 1_000_000,
        ]
    ),
)  # fmt: skip


def hidden(text: str) -> Iterator[str]:
    return (one for one in text if one != "\n" and harmless(one) != one)


@settings(max_examples=25, deadline=None)
@given(NASTY)
def test_hostile_text_stays_text(text: str) -> None:
    plain, hostile = Page(render(WITH_X)), Page(source := render(certificates.with_text(certificates.golden(), text)))
    assert hostile.open == []
    assert shape(hostile) == shape(plain)
    assert len(source.encode()) < LARGEST_BYTES
    assert not list(hidden("".join(hostile.text)))


def shape(page: Page) -> set[tuple[str, tuple[str, ...]]]:
    """The kinds of elements and attributes; how many there are depends on how findings fold."""
    skipped = {"class", "data-label"}
    kinds = {(tag, tuple(sorted(set(attributes) - skipped))) for tag, attributes in page.elements}
    return kinds - {("code", ()), ("span", ()), ("td", ())}


WITH_X = certificates.with_text(certificates.golden(), "x")


@given(TEXT, st.integers(1, 300))
def test_harmless_text_can_be_seen_and_is_short(text: str, longest: int) -> None:
    shown = harmless(text, longest)
    assert len(shown) <= longest
    shown.encode()
    assert all(character.isprintable() or character.isspace() for character in shown)


def test_marks_that_pile_up_are_written_out() -> None:
    assert harmless("e\u0301") == "e\u0301"
    assert "\\u0301" in harmless("e" + "\u0301" * 50)


def test_prose_keeps_quantities_and_dates_whole() -> None:
    text = "From 2026-11-24: ≥ 1\u202f680\u202fFLOP/clk/SM <b> by `nvidia-smi`"
    assert prose(text) == (
        'From <span class="keep">2026-11-24</span>: <span class="keep">≥ 1\u202f680\u202fFLOP/clk/SM</span> '
        "&lt;b&gt; by <code>nvidia-smi</code>"
    )


@given(TEXT)
def test_prose_adds_no_markup_of_others(text: str) -> None:
    assert set(re.findall(r"<[^>]*>", prose(text))) <= {'<span class="keep">', "</span>", "<code>", "</code>"}
