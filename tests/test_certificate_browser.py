"""The page in a real browser: accessible, on any width, alone with itself, and on paper."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpucert.certificate.page import render
from tests import certificates, comparisons, inspections

sync_api = pytest.importorskip("playwright.sync_api")
axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE, DESKTOP = 390, 1280
NASTY = (
    "\"'></title></style></svg><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
    "<svg onload='window.broken = 1'>\u202e\u2066<a href='javascript:window.broken=1'>\x00\x1b[31m{{ 7 * 7 }}"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    payloads = {kind: make() for kind, make in certificates.KINDS.items()}
    payloads["hostile"] = certificates.with_text(certificates.failed(), NASTY)
    payloads["endless"] = certificates.with_text(certificates.failed(), "x" * 1_000_000)
    texts = {kind: render(payload) for kind, payload in payloads.items()}
    texts |= {"inspection": inspections.one(), "inspected-rack": inspections.rack()}
    texts["inspected-hostile"] = inspections.hostile(NASTY)
    texts["comparison"] = comparisons.page(comparisons.repaired())
    texts["compared-hostile"] = comparisons.page(comparisons.hostile(NASTY))
    paths = {}
    for kind, text in texts.items():
        paths[kind] = folder / f"{kind}.html"
        paths[kind].write_text(text, encoding="utf-8")
    return paths


@pytest.fixture
def opened(browser, pages):  # type: ignore[no-untyped-def]
    """Opens a page of a kind; every request beyond the file itself is a failure."""
    contexts = []

    def open_page(kind: str, width: int = DESKTOP, **options: object):  # type: ignore[no-untyped-def]
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("dialog", lambda dialog: page.said.append(dialog.message))
        page.goto(pages[kind].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def printed(page, form: str, tmp_path: Path, pages: tuple[int, int] | None = None) -> str:  # type: ignore[no-untyped-def]
    """The text of the printed pages, from one to another."""
    page.pdf(path=str(tmp_path / "page.pdf"), format=form)
    first, last = pages or (1, 99)
    return subprocess.run(
        ["pdftotext", "-layout", "-f", str(first), "-l", str(last), str(tmp_path / "page.pdf"), "-"],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "width", "scheme"),
    [
        ("failed", PHONE, "light"),
        ("failed", DESKTOP, "dark"),
        ("incomplete", PHONE, "dark"),
        ("report", DESKTOP, "light"),
        ("inspection", PHONE, "dark"),
        ("inspected-rack", DESKTOP, "light"),
        ("comparison", PHONE, "dark"),
        ("comparison", DESKTOP, "light"),
    ],
)
def test_everybody_can_read_it(opened, kind: str, width: int, scheme: str) -> None:  # type: ignore[no-untyped-def]
    page = opened(kind, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    standards = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    options = {"runOnly": {"type": "tag", "values": standards}}
    found = axe_module.Axe().run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(
    "kind",
    ["failed", "burnin", "hostile", "endless", "inspection", "inspected-hostile", "comparison", "compared-hostile"],
)
def test_it_never_scrolls_sideways(opened, kind: str) -> None:  # type: ignore[no-untyped-def]
    page = opened(kind)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    for width in (320, PHONE, 700, 704, 720, 1024, DESKTOP):
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px at {width}"


@pytest.mark.parametrize("kind", ["burnin", "hostile", "inspected-hostile", "compared-hostile"])
def test_it_asks_for_nothing_and_runs_nothing(opened, kind: str) -> None:  # type: ignore[no-untyped-def]
    page = opened(kind)
    page.wait_for_timeout(200)
    assert page.asked == [page.url]
    assert page.said == []
    assert page.evaluate("window.broken") is None
    assert (
        page.evaluate("document.querySelectorAll('script, img, a:not([href^=\\'#card-\\']), iframe, form').length") == 0
    )
    assert page.evaluate("document.querySelectorAll('[onerror], [onload], [onclick]').length") == 0


def test_the_policy_of_the_page_stops_a_script_that_got_in(opened) -> None:  # type: ignore[no-untyped-def]
    page = opened("healthy")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.broken = 1'}))")
    assert page.evaluate("window.broken") is None


def test_it_says_the_same_without_scripts(opened) -> None:  # type: ignore[no-untyped-def]
    with_scripts = opened("failed").locator("main").inner_text()
    without = opened("failed", java_script_enabled=False).locator("main").inner_text()
    assert without == with_scripts
    assert "NOT CERTIFIED" in without


def test_specimen_is_seen_on_the_screen(opened) -> None:  # type: ignore[no-untyped-def]
    page = opened("healthy", PHONE)
    assert page.locator(".watermark").is_visible()
    note = page.get_by_role("note")
    assert "SPECIMEN" in note.inner_text()
    assert note.bounding_box()["y"] < 800


@pytest.mark.parametrize("form", ["A4", "Letter"])
@pytest.mark.parametrize("kind", ["healthy", "failed", "incomplete", "report", "burnin"])
def test_page_one_alone_suffices(opened, kind: str, form: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    payload = certificates.KINDS[kind]()
    first = " ".join(printed(opened(kind, color_scheme="dark"), form, tmp_path, (1, 1)).split())
    wanted = [
        "SPECIMEN", "…0997", "…ce98", "Compute", "Memory", "Heat and power", "Links", "Identity and stability",
        "Data clearing", "Why not higher", "What was not tested", "Clearing of the memory", "verdict.json",
        payload.record_sha256,
    ]  # fmt: skip
    missing = [word for word in wanted if word not in first]
    assert not missing, f"{missing} not on page one of {kind}"
    assert payload.sentence.split(":")[0] in first
    if payload.tier:
        assert f"tier {payload.tier}" in first
    assert "Speed beside" not in first


def test_every_printed_page_is_numbered_and_a_specimen(opened, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    leaves = printed(opened("burnin"), "A4", tmp_path).split("\f")[:-1]
    assert len(leaves) > 3
    for place, leaf in enumerate(leaves, start=1):
        assert re.search(rf"\b{place} ?/ ?{len(leaves)}\b", leaf)
        assert "SPECIMEN" in leaf
    assert "FP64 per clock" in "".join(leaves)
    assert "Step" in "".join(leaves)


def test_a_printed_comparison_hides_nothing(opened, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = printed(opened("comparison", color_scheme="dark"), "A4", tmp_path)
    for words in ("Die to cooler, first second", "Side by side, not judged", "Sweep rate", "memory.hard", "told from"):
        assert words in text


def test_print_is_dark_on_white(opened) -> None:  # type: ignore[no-untyped-def]
    page = opened("failed", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
