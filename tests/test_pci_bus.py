"""The PCI bus: what a real-looking sysfs says of NVIDIA's cards, and that nothing odd in it is taken for a fact."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpucert.device import pci_bus
from gpucert.device.pci_bus import Bus, PciGpu, Port
from gpucert.reading import Absence, Absent
from tests import sysfs

FILES = (
    "vendor",
    "class",
    "device",
    "subsystem_vendor",
    "subsystem_device",
    "revision",
    "enable",
    "power_state",
    "numa_node",
    "current_link_speed",
    "max_link_speed",
    "current_link_width",
    "max_link_width",
    "aer_dev_correctable",
    "aer_dev_nonfatal",
    "aer_dev_fatal",
)


def scan(root: Path) -> Bus:
    bus = pci_bus.scan(root)
    assert isinstance(bus, Bus)
    return bus


def only(root: Path) -> PciGpu:
    (gpu,) = scan(root).gpus
    return gpu


def reason(value: object) -> Absence:
    assert isinstance(value, Absent), value
    return value.absent


def test_a_card_is_read_in_full(tmp_path: Path) -> None:
    sysfs.device(tmp_path, "0000:65:00.0", correctable=7)
    gpu = only(tmp_path)
    assert (gpu.bus_id, gpu.device, gpu.subvendor, gpu.subdevice) == ("00000000:65:00.0", "20b2", "10de", "147f")
    assert gpu.name == "NVIDIA A100-SXM4-80GB"
    assert (gpu.driver, gpu.answers, gpu.enabled, gpu.power_state, gpu.numa_node) == ("nvidia", True, True, "D0", 0)
    assert (gpu.link.gt_s, gpu.link.max_gt_s, gpu.link.width, gpu.link.max_width) == (16.0, 16.0, 16, 16)
    assert (gpu.aer.correctable, gpu.aer.nonfatal, gpu.aer.fatal) == (7, 0, 0)
    assert isinstance(gpu.port, Port)
    assert (gpu.port.bus_id, gpu.port.link.max_width, gpu.port.aer.correctable) == ("00000000:64:01.0", 16, 0)
    assert gpu.virtual_function_of is None


def test_only_gpus_of_nvidia_are_gpus(tmp_path: Path) -> None:
    sysfs.device(tmp_path, "0000:01:00.0", **sysfs.RTX_4090)
    sysfs.device(tmp_path, "0000:02:00.0", **sysfs.V100)
    sysfs.device(tmp_path, "0000:03:00.0", kind=sysfs.DISPLAY)
    for number, kind in enumerate((sysfs.AUDIO, sysfs.USB, sysfs.SERIAL), start=1):
        sysfs.device(tmp_path, f"0000:01:00.{number}", kind=kind, driver="snd_hda_intel")
    sysfs.device(tmp_path, "0000:00:02.0", vendor="8086", kind=sysfs.VGA, driver="i915", port=None)
    sysfs.device(tmp_path, "0000:05:00.0", device="22a3", kind=sysfs.SWITCH, driver="nvidia-nvswitch")
    bus = scan(tmp_path)
    assert [gpu.bus_id for gpu in bus.gpus] == ["00000000:01:00.0", "00000000:02:00.0", "00000000:03:00.0"]
    assert bus.nvswitches == ("00000000:05:00.0",)
    assert bus.unreadable == ()


@pytest.mark.parametrize(
    ("ids", "name"),
    [
        (sysfs.A100, "NVIDIA A100-SXM4-80GB"),
        (sysfs.RTX_4090, "NVIDIA GeForce RTX 4090"),
        (sysfs.V100, "Tesla V100-SXM2-16GB"),
        ({"device": "1c03"}, "NVIDIA GeForce GTX 1060 6GB"),
    ],
)
def test_a_card_has_a_name_although_no_driver_was_asked(tmp_path: Path, ids: dict[str, str], name: str) -> None:
    sysfs.device(tmp_path, **ids, driver=None)
    assert only(tmp_path).name == name


def test_a_card_that_nobody_lists_has_no_name(tmp_path: Path) -> None:
    sysfs.device(tmp_path, device="fffe")
    assert reason(only(tmp_path).name) is Absence.UNKNOWN


@pytest.mark.parametrize("driver", ["nvidia", "nouveau", "vfio-pci", None])
def test_the_driver_that_holds_a_card_is_told(tmp_path: Path, driver: str | None) -> None:
    sysfs.device(tmp_path, driver=driver)
    assert only(tmp_path).driver == driver


def test_a_card_that_fell_off_the_bus_answers_all_ones(tmp_path: Path) -> None:
    sysfs.device(tmp_path, fallen=True)
    gpu = only(tmp_path)
    assert gpu.answers is False
    assert gpu.power_state == "D3cold"
    assert reason(gpu.link.gt_s) is Absence.UNKNOWN
    assert reason(gpu.link.width) is Absence.ABSURD
    assert gpu.name == "NVIDIA A100-SXM4-80GB", "the kernel remembers what it was"


def test_without_a_configuration_space_only_a_revision_of_ones_tells(tmp_path: Path) -> None:
    sysfs.device(tmp_path, "0000:01:00.0", config=None)
    sysfs.device(tmp_path, "0000:02:00.0", config=None, revision="0xff")
    sysfs.device(tmp_path, "0000:03:00.0", config=None, revision=None)
    told, fallen, silent = (gpu.answers for gpu in scan(tmp_path).gpus)
    assert reason(told) is Absence.NOT_SUPPORTED
    assert fallen is False
    assert reason(silent) is Absence.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("config", "wanted"),
    [(b"", Absence.UNKNOWN), (b"\xde\x10", Absence.UNKNOWN), (b"\x86\x80\x00\x00" + bytes(60), Absence.ABSURD)],
)
def test_an_odd_configuration_space_is_no_answer(tmp_path: Path, config: bytes, wanted: Absence) -> None:
    place = sysfs.device(tmp_path)
    (place / "config").write_bytes(config)
    assert reason(only(tmp_path).answers) is wanted


@pytest.mark.parametrize(
    ("word", "gt_s"),
    [("2.5 GT/s PCIe", 2.5), ("8 GT/s", 8.0), ("8.0 GT/s PCIe", 8.0), ("64.0 GT/s PCIe", 64.0)],
)
def test_link_speeds_of_old_and_new_kernels_are_read(tmp_path: Path, word: str, gt_s: float) -> None:
    sysfs.device(tmp_path, current_link_speed=word)
    assert only(tmp_path).link.gt_s == gt_s
    assert gt_s in pci_bus.GENERATIONS


@pytest.mark.parametrize(
    ("file", "word", "wanted"),
    [
        ("current_link_speed", "Unknown", Absence.UNKNOWN),
        ("current_link_speed", "Unknown speed", Absence.UNKNOWN),
        ("current_link_speed", "9.0 GT/s PCIe", Absence.ABSURD),
        ("current_link_width", "0", Absence.UNKNOWN),
        ("current_link_width", "255", Absence.ABSURD),
        ("current_link_width", "-1", Absence.ABSURD),
        ("current_link_width", "٨", Absence.ABSURD),
        ("current_link_width", None, Absence.NOT_SUPPORTED),
    ],
)
def test_what_is_no_link_is_no_number(tmp_path: Path, file: str, word: str | None, wanted: Absence) -> None:
    sysfs.device(tmp_path, **{file: word})
    link = only(tmp_path).link
    assert reason(link.gt_s if "speed" in file else link.width) is wanted


def test_absences_say_why(tmp_path: Path) -> None:
    sysfs.device(tmp_path, port=None, numa_node="-1", aer_dev_correctable=None, power_state="unknown", enable="yes")
    gpu = only(tmp_path)
    assert reason(gpu.port) is Absence.NOT_SUPPORTED
    assert reason(gpu.numa_node) is Absence.NOT_SUPPORTED
    assert reason(gpu.aer.correctable) is Absence.NOT_SUPPORTED
    assert reason(gpu.power_state) is Absence.UNKNOWN
    assert reason(gpu.enabled) is Absence.ABSURD


def test_the_totals_of_both_spellings_of_error_counters_are_read(tmp_path: Path) -> None:
    sysfs.device(tmp_path, aer_dev_correctable="Receiver Error 2\nBad TLP 0\nTOTAL_ERR_COR 2", aer_dev_fatal="DLP 0")
    aer = only(tmp_path).aer
    assert aer.correctable == 2
    assert reason(aer.fatal) is Absence.UNKNOWN


def test_a_share_of_a_card_names_the_whole(tmp_path: Path) -> None:
    sysfs.device(tmp_path, "0000:65:00.0")
    sysfs.device(tmp_path, "0000:65:00.4", physfn="0000:65:00.0", driver=None)
    assert [gpu.virtual_function_of for gpu in scan(tmp_path).gpus] == [None, "00000000:65:00.0"]


def test_a_station_without_a_pci_bus_is_not_one_without_cards(tmp_path: Path) -> None:
    assert reason(pci_bus.scan(tmp_path)) is Absence.NOT_SUPPORTED
    (tmp_path / "bus" / "pci" / "devices").mkdir(parents=True)
    assert scan(tmp_path) == Bus(gpus=())


def test_places_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (sysfs.device(tmp_path, "0000:01:00.0") / "vendor").unlink()
    sysfs.device(tmp_path, "0000:02:00.0", **{"class": "0x0302"})
    (tmp_path / "bus" / "pci" / "devices" / "nonsense").mkdir()
    (tmp_path / "bus" / "pci" / "devices" / "0000:09:00.0").symlink_to(tmp_path / "gone")
    bus = scan(tmp_path)
    assert bus.gpus == ()
    assert bus.unreadable == ("00000000:01:00.0", "00000000:02:00.0", "00000000:09:00.0")


def test_long_domains_are_read(tmp_path: Path) -> None:
    sysfs.device(tmp_path, "10000:e1:00.0")
    assert only(tmp_path).bus_id == "00010000:e1:00.0"


@pytest.mark.skipif(os.geteuid() != 0, reason="a user who is not root cannot take on another one")
def test_what_may_not_be_read_is_no_permission(tmp_path: Path) -> None:
    place = sysfs.device(tmp_path)
    for name in ("config", "current_link_width"):
        (place / name).chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        gpu = only(tmp_path)
    finally:
        os.seteuid(0)
    assert reason(gpu.answers) is Absence.NO_PERMISSION
    assert reason(gpu.link.width) is Absence.NO_PERMISSION


def test_a_pipe_in_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    place = sysfs.device(tmp_path, numa_node=None)
    os.mkfifo(place / "numa_node")
    assert isinstance(only(tmp_path).numa_node, Absent)


odd = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"0x[0-9a-fA-F]{1,8}", fullmatch=True),
    st.integers(-5, 2**70).map(str),
    st.sampled_from(
        ["", "Unknown", "16.0 GT/s PCIe", "0x10de", "0xffff", "0x030200", "D0", "TOTAL_ERR_COR 99", "\x1b[2J"]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(contents=st.dictionaries(st.sampled_from(FILES), odd), config=st.binary(max_size=80))
def test_whatever_the_files_hold_a_scan_ends_with_facts_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, str], config: bytes
) -> None:
    root = tmp_path_factory.mktemp("sys")
    place = sysfs.device(root)
    for name, text in contents.items():
        (place / name).write_bytes(text.encode("utf-8", errors="surrogatepass"))
    (place / "config").write_bytes(config)
    bus = scan(root)
    for gpu in bus.gpus:
        assert isinstance(gpu.device, Absent) or len(gpu.device) == 4
        for link in (gpu.link, gpu.port.link if isinstance(gpu.port, Port) else gpu.link):
            assert isinstance(link.width, Absent) or 1 <= link.width <= 32
            assert isinstance(link.gt_s, Absent) or link.gt_s in pci_bus.GENERATIONS
        assert gpu.answers is not True or config[:2] == b"\xde\x10"
        assert isinstance(gpu.aer.correctable, Absent) or gpu.aer.correctable >= 0
        assert isinstance(gpu.numa_node, Absent) or 0 <= gpu.numa_node <= 2**16
