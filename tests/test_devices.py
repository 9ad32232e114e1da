"""`gpucert devices`: every card of a station is listed, and one that cannot be used says why and what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpucert import diagnosis
from gpucert.catalogue import pci_names, shelf
from gpucert.cli import main
from gpucert.reading import Absence, Absent
from gpucert.station import cards, gather, support
from gpucert.station.cards import Card
from tests import nvml_stub, stations, sysfs

needs_compiler = pytest.mark.skipif(nvml_stub.COMPILER is None, reason="no C compiler on this station")
A100, OTHER = "0000:65:00.0", "0000:b3:00.0"


def only(seen: cards.Sight) -> Card:
    (card,) = cards.every(seen)
    return card


def why(card: Card) -> str:
    assert card.unseen is not None
    assert card.unseen.remedy
    assert card.unseen.code in diagnosis.TABLE
    return card.unseen.why


# ---- the cards of the bus and those of NVML, joined ----


def test_a_card_that_both_show_is_one(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100)
    card = only(stations.sight(root, listed=(stations.identity(),)))
    assert (card.index, card.name, card.unseen) == (0, "NVIDIA A100-SXM4-80GB", None)
    assert card.place is not None
    assert card.place.driver == "nvidia"
    assert card.key == "GPU-513536b6-7d19-9063-b049-1e69664bb298"


def test_indices_are_those_of_nvml_and_the_others_come_after(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    for where in ("0000:01:00.0", A100, OTHER):
        sysfs.device(root / "sys", where, driver="vfio-pci" if where == "0000:01:00.0" else "nvidia")
    listed = (stations.identity("00000000:b3:00.0", uuid="GPU-b"), stations.identity(uuid="GPU-a"))
    told = [(card.index, card.bus_id) for card in cards.every(stations.sight(root, listed=listed))]
    assert told == [(0, "00000000:b3:00.0"), (1, "00000000:65:00.0"), (None, "00000000:01:00.0")]


def test_a_card_without_pci_bus_is_listed_all_the_same(tmp_path: Path) -> None:
    card = only(stations.sight(tmp_path, listed=(stations.identity(),)))
    assert (card.index, card.place, card.unseen) == (0, None, None)


def test_the_only_card_that_is_left_is_the_one_that_does_not_answer(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", OTHER, fallen=True)
    first, second = cards.every(stations.sight(root, listed=(stations.identity(), stations.lost())))
    assert (first.index, first.unseen) == (0, None)
    assert (second.index, second.bus_id) == (1, "00000000:b3:00.0")
    assert "fell off the bus" in why(second)


def test_two_cards_that_do_not_answer_are_not_guessed_at(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", OTHER)
    told = cards.every(stations.sight(root, listed=(stations.lost(), stations.lost())))
    assert [(card.index, card.bus_id) for card in told[:2]] == [(0, None), (1, None)]
    assert {card.bus_id for card in told[2:]} == {"00000000:65:00.0", "00000000:b3:00.0"}
    assert all(card.unseen is not None for card in told)


@pytest.mark.parametrize(
    ("absence", "code"),
    [
        (Absence.LOST, "device.lost"),
        (Absence.RESET_REQUIRED, "device.reset_required"),
        (Absence.UNKNOWN, "device.not_initialised"),
    ],
)
def test_a_listed_card_that_does_not_answer_has_a_code(tmp_path: Path, absence: Absence, code: str) -> None:
    reason = Absent(absence, "nvmlDeviceGetHandleByIndex: odd")
    nothing = type(stations.lost())(**dict.fromkeys(("name", "uuid", "bus_id"), reason))
    card = only(stations.sight(stations.root(tmp_path), listed=(nothing,)))
    assert card.unseen is not None
    assert card.unseen.code == code
    assert "odd" in why(card)


def test_shares_of_a_card_are_no_cards(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", "0000:65:00.4", physfn=A100, driver=None)
    seen = stations.sight(root, listed=(stations.identity(),))
    assert only(seen).unseen is None
    assert cards.shares(seen) == 1


# ---- why a card is not listed ----

OPEN_ONLY = "the open kernel modules do not drive Volta"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str], str, str, str]] = {
    # case: (station, card, environment, code, words of the reason, words of the remedy)
    "fell off": ({}, {"fallen": True}, {}, "device.lost", "fell off the bus", "reseat"),
    "vfio": ({}, {"driver": "vfio-pci"}, {}, "station.driver", "vfio-pci holds it", "driverctl unset-override 0000:65"),
    "nouveau": ({"nouveau": True}, {"driver": "nouveau"}, {}, "station.driver", "nouveau holds it", "blacklist"),
    "another": ({}, {"driver": "odd_drv"}, {}, "station.driver", "odd_drv holds it", "Unbind it from odd_drv"),
    "excluded": (
        {"known": (), "excluded": (A100,)},
        {},
        {},
        "station.driver",
        "NVreg_ExcludedGpus",
        "Take it out of NVreg_ExcludedGpus",
    ),
    "too old for 590": (
        {"driver": "590.48.01"},
        {**sysfs.V100, "driver": None},
        {},
        "station.driver",
        "driver 590.48.01 has dropped Volta; 580 was the last",
        "branch 580 with the proprietary",
    ),
    "pascal on 610": (
        {"driver": "610.43.02"},
        {**sysfs.GTX_1060, "driver": None},
        {},
        "station.driver",
        "has dropped Pascal",
        "branch 580",
    ),
    "open modules": ({}, {**sysfs.V100, "driver": None}, {}, "station.driver", OPEN_ONLY, "proprietary"),
    "proprietary modules": (
        {"open_modules": False},
        sysfs.RTX_5090,
        {},
        "station.driver",
        "Blackwell needs the open kernel modules",
        "-open",
    ),
    "too new": (
        {"driver": "535.183.01"},
        {**sysfs.RTX_5090, "driver": None},
        {},
        "station.driver",
        "driver 535.183.01 is older than Blackwell",
        "580 or newer",
    ),
    "hidden by variable": (
        {"container": True},
        {},
        {"NVIDIA_VISIBLE_DEVICES": "0"},
        "station.driver",
        "NVIDIA_VISIBLE_DEVICES=0 hides it",
        "test it on the host",
    ),
    "not given": ({"container": True, "known": (OTHER,)}, {}, {}, "station.driver", "was not given it", "--gpus"),
    "not initialised": (
        {"kmsg": "4,1,900,-;NVRM: GPU 0000:65:00.0: RmInitAdapter failed! (0x62:0x65:1792)\n"},
        {},
        {},
        "device.not_initialised",
        "could not start it; the kernel log says: RmInitAdapter failed! (0x62:0x65:1792)",
        "reseat",
    ),
    "another's failure": (
        {"kmsg": "4,1,900,-;NVRM: GPU 0000:66:00.0: RmInitAdapter failed! (0x62:0x65:1792)\n"},
        {},
        {},
        "device.not_initialised",
        "could not start it",
        "reseat",
    ),
    "nothing bound": (
        {"kmsg": "4,1,900,-;NVRM: The NVIDIA GPU 0000:65:00.0 (PCI ID: 10de:20b2)\\x0aNVRM: is odd. Please\n"},
        {"driver": None},
        {},
        "device.not_initialised",
        "no driver holds it, although NVIDIA's kernel module is loaded; the kernel log says: The NVIDIA GPU",
        "reseat",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_card_that_nvml_does_not_list_says_why_and_what_to_do(tmp_path: Path, case: str) -> None:
    of_station, of_card, environment, code, words, remedy = CASES[case]
    root = stations.root(tmp_path, **of_station)
    sysfs.device(root / "sys", A100, **of_card)
    card = only(stations.sight(root, environment=environment))
    assert card.unseen is not None
    assert card.unseen.code == code
    assert words in why(card)
    assert remedy in card.unseen.remedy
    assert card.unseen.hidden == (case in {"hidden by variable", "not given"})
    if case == "another's failure":
        assert "kernel log" not in why(card)


def test_a_driver_that_does_not_answer_is_the_reason_of_every_card(tmp_path: Path) -> None:
    root = stations.root(tmp_path, driver=None, nodes=())
    sysfs.device(root / "sys", A100, driver=None)
    sysfs.device(root / "sys", OTHER, driver=None, **sysfs.V100)
    seen = stations.sight(root, failure=stations.NO_LIBRARY, nvml=stations.MISSING)
    assert {why(card) for card in cards.every(seen)} == {"no NVIDIA driver is installed"}
    assert {card.name for card in cards.every(seen)} == {"NVIDIA A100-SXM4-80GB", "Tesla V100-SXM2-16GB"}


def test_every_model_of_the_catalogue_has_the_architecture_of_its_device_id() -> None:
    for model in shelf.every():
        for pci in model.pci:
            found = support.architecture_of(pci.device)
            assert found is not None, model.key
            assert found.name == model.architecture, model.key
            assert found.supported


def test_every_card_that_nvidia_lists_has_an_architecture_from_turing_on() -> None:
    for name in pci_names._names():
        found = support.architecture_of(name.partition(":")[0])
        assert found is not None, name
        assert not found.needs_cuda_12, name


@pytest.mark.parametrize("device", ["ffff", "2f95", "3000", "zz", "", "20B2"])
def test_nothing_is_claimed_of_a_device_that_nobody_knows(device: str) -> None:
    assert support.architecture_of(device) is None


# ---- the command ----


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stub.build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def root(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A station with a driver of ours: card 0 stands at 65:00.0, card 1 is lost."""
    for name in ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "KUBERNETES_SERVICE_HOST", "container"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("COLUMNS", "80")
    folder = stations.root(tmp_path)
    monkeypatch.setattr(gather, "ROOT", folder)
    monkeypatch.setattr(gather, "time_left", lambda: 40.0)  # because a machine under test has other things to do
    return folder


def devices(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["devices", *arguments])


@needs_compiler
def test_a_visible_card_is_listed_and_a_lost_one_makes_exit_code_30(root: Path) -> None:
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", OTHER, fallen=True)
    done = devices()
    assert done.exit_code == 30
    words = " ".join(done.stdout.split())
    assert "0 NVIDIA A100-SXM4-80GB 81920 MiB" in words
    assert "bus id 00000000:65:00.0" in words
    assert "serial 1324020001234" in words
    assert "1 NVIDIA A100-SXM4-80GB NOT USABLE bus id 00000000:b3:00.0 driver nvidia why it fell off the bus" in words
    assert max(map(len, done.stdout.splitlines())) <= 80


@needs_compiler
def test_json_tells_the_same(root: Path) -> None:
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", OTHER, driver="vfio-pci")
    sysfs.device(root / "sys", "0000:b4:00.0", driver="vfio-pci")
    done = devices("--json")
    told = json.loads(done.stdout)
    assert done.exit_code == told["exit_code"] == 30
    assert told["driver"] is None
    first, lost, *others = told["devices"]
    assert (first["index"], first["bus_id"], first["memory_mib"]) == (0, "00000000:65:00.0", 81920)
    assert (first["kernel_driver"], first["unseen"], first["pci"]["link"]["width"]) == ("nvidia", None, 16)
    assert (lost["index"], lost["unseen"]["code"]) == (1, "device.lost")
    assert [one["index"] for one in others] == [None, None]
    assert all("vfio-pci" in one["unseen"]["why"] and one["unseen"]["remedy"] for one in others)


@needs_compiler
def test_a_hidden_card_is_no_fault_and_variables_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVML_STUB_VALUES", "count=1")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", OTHER)
    told = json.loads(devices("--json").stdout)
    assert told["exit_code"] == 0
    assert told["devices"][1]["unseen"]["hidden"] is True
    assert any("CUDA_VISIBLE_DEVICES=1 hides nothing" in note for note in told["notes"])
    assert "hidden" in devices().stdout


@needs_compiler
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"NVML_STUB_CODES": "nvmlInitWithFlags=18"}, "different versions (module 580.65.06)"),
        ({"NVML_STUB_CRASH": "nvmlInitWithFlags=1"}, "died of SIGSEGV. Install the driver again"),
        ({"NVML_STUB_CODES": "nvmlInitWithFlags=999"}, "code 999"),
    ],
)
def test_a_driver_that_does_not_answer_is_one_line_with_its_remedy(
    root: Path, monkeypatch: pytest.MonkeyPatch, script: dict[str, str], words: str
) -> None:
    for name, value in script.items():
        monkeypatch.setenv(name, value)
    sysfs.device(root / "sys", A100)
    done = devices()
    assert done.exit_code == 30
    assert len(done.stderr.strip().splitlines()) == 1
    assert words in done.stderr
    assert "NVIDIA A100-SXM4-80GB  NOT USABLE" in done.stdout, "the bus knows the card all the same"


@needs_compiler
def test_text_that_could_steer_a_terminal_is_escaped(root: Path) -> None:
    place = sysfs.device(root / "sys", A100)
    (place / "driver").unlink()
    (place / "driver").symlink_to("/drivers/\x1b[2Jodd\u202e")
    done = devices()
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\\x1b[2Jodd" in done.stdout


def test_a_station_without_a_card_is_exit_code_30(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "ROOT", tmp_path)
    monkeypatch.setattr(gather, "time_left", lambda: 40.0)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    (tmp_path / nvml_stub.LIBRARY).write_text("no library")
    done = devices("--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["exit_code"], told["devices"]) == (30, 30, [])
    assert "cannot be loaded" in told["driver"]["found"]
    assert "file too short" in told["driver"]["found"] or "ELF" in told["driver"]["found"]
