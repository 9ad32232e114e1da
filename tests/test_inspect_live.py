"""`gpucert inspect` on the cards of a station: read once through a driver of our own, joined with the kernel log."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpucert.cli import captures, main
from gpucert.reading import Absence, Absent
from gpucert.station import log
from tests import nvml_stub

pytestmark = pytest.mark.skipif(nvml_stub.COMPILER is None, reason="no C compiler on this station")

XIDS = (
    "[12.5] NVRM: GPU at PCI:0000:65:00: GPU-513536b6-7d19-9063-b049-1e69664bb298",
    "[99.5] NVRM: Xid (PCI:0000:65:00): 64, Row Remapper Error: (0x18f31d80) - All reserved rows for bank are remapped",
    "[99.6] NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus.",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stub.build(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def station(library: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A station with our driver; `lines` is its kernel log, or why nobody may read it."""

    def use(lines: object = (), **script: str) -> None:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
        monkeypatch.setattr(log, "read", lambda *_: lines)
        for name, value in script.items():
            monkeypatch.setenv(name, value)

    return use


def inspect(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, words)])


def cards(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(inspect("--json", *words).stdout)["cards"]
    return found


def codes(card: dict[str, Any]) -> set[str]:
    return {one["code"] for one in card["diagnoses"]}


def test_every_card_of_the_station_is_read_the_lost_one_too(station: Callable[..., None]) -> None:
    station()
    a100, lost = cards()
    assert (a100["model"], a100["bus_id"]) == ("NVIDIA A100-SXM4-80GB", "00000000:65:00.0")
    assert "memory.row_remap" in codes(a100), "the driver of the tests has a pending remap"
    assert codes(lost) == {"device.lost"}
    assert inspect().exit_code == 20


def test_one_card_is_chosen(station: Callable[..., None]) -> None:
    station()
    assert len(cards("--gpu", "0")) == 1
    nobody = inspect("--gpu", "7")
    assert (nobody.exit_code, len(nobody.output.splitlines())) == (2, 1)
    assert "0: NVIDIA A100" in nobody.output


def test_the_kernel_log_of_the_station_is_read_beside_the_card(station: Callable[..., None]) -> None:
    station(XIDS)
    (a100,) = cards("--gpu", "0")
    assert "xid.64" in codes(a100)
    assert "device.lost" not in codes(a100), "the Xid of another card is not its own"
    assert not any("Only its bus id" in note for note in a100["notes"])


def test_a_card_that_the_driver_has_lost_from_its_list_is_told_by_the_log(station: Callable[..., None]) -> None:
    station(XIDS)
    (gone,) = [card for card in cards() if card["bus_id"] == "00000000:17:00.0"]
    assert codes(gone) == {"device.lost"}


def test_a_log_that_nobody_may_read_is_said(station: Callable[..., None]) -> None:
    station(Absent(Absence.NO_PERMISSION, "/dev/kmsg"))
    (a100,) = cards("--gpu", "0")
    assert any("kernel log of this station was not read" in note for note in a100["notes"])


def test_a_card_that_hangs_ends_in_30_and_hides_no_other(
    station: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    station(NVML_STUB_BLOCK="nvmlDeviceGetEccMode=2")
    done = inspect("--gpu", "0")
    assert done.exit_code == 30
    assert "does not answer" in done.output
    assert "Traceback" not in done.output


def test_a_page_of_a_live_card(station: Callable[..., None], tmp_path: Path) -> None:
    station()
    page = tmp_path / "card.html"
    assert inspect("--gpu", "0", "--report", page).exit_code == 20
    text = page.read_text(encoding="utf-8")
    assert "NVIDIA A100-SXM4-80GB: something found" in text
    assert captures.STATION in text


def test_files_and_cards_are_not_asked_for_together(tmp_path: Path) -> None:
    done = inspect("--gpu", "0", tmp_path / "file.txt")
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)


def test_without_a_driver_a_file_is_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / nvml_stub.LIBRARY).write_bytes(b"no library at all")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    done = inspect()
    assert done.exit_code == 30
    assert "gpucert inspect FILE" in done.output
