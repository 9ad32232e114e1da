"""A fake sysfs: PCI devices with the files and links that a real kernel shows, written into a folder."""

from pathlib import Path

GPU, VGA, DISPLAY, SWITCH, AUDIO, USB, SERIAL = "030200", "030000", "038000", "068000", "040300", "0c0330", "0c8000"
A100 = {"device": "20b2", "subdevice": "147f"}
V100 = {"device": "1db1", "subdevice": "1212"}
GTX_1060 = {"device": "1c03", "subdevice": "1b06"}
RTX_4090 = {"device": "2684", "subdevice": "165b", "kind": VGA}
RTX_5090 = {"device": "2b85", "subdevice": "2057", "kind": VGA}

_AER = """RxErr {0}
BadTLP 0
BadDLLP 0
Rollover 0
Timeout 0
NonFatalErr 0
CorrIntErr 0
HeaderOF 0
TOTAL_ERR_{1} {0}
"""


def device(
    root: Path,
    where: str = "0000:65:00.0",
    *,
    device: str = "20b2",
    subvendor: str = "10de",
    subdevice: str = "147f",
    vendor: str = "10de",
    kind: str = GPU,
    driver: str | None = "nvidia",
    port: str | None = "0000:64:01.0",
    fallen: bool = False,
    width: int = 16,
    port_width: int = 16,
    correctable: int = 0,
    physfn: str | None = None,
    **files: str | None,
) -> Path:
    """Add one device below a port and say where it lies. `files` replaces contents; None leaves a file out."""
    above = root / "devices" / "pci0000:64" / (port or "")
    place = above / where
    place.mkdir(parents=True)
    config = bytes.fromhex(vendor)[::-1] + bytes.fromhex(device)[::-1] + bytes(60)
    link = _link("Unknown" if fallen else "16.0 GT/s PCIe", "16.0 GT/s PCIe", 63 if fallen else width, 16)
    contents: dict[str, str | None] = {
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "subsystem_vendor": f"0x{subvendor}",
        "subsystem_device": f"0x{subdevice}",
        "class": f"0x{kind}",
        "revision": "0xa1",
        "enable": "1",
        "power_state": "D3cold" if fallen else "D0",
        "numa_node": "0",
        **link,
        **_aer(correctable),
        **files,
    }
    _write(place, contents)
    if "config" not in files:
        (place / "config").write_bytes(b"\xff" * 64 if fallen else config)
    if port is not None and not (above / "vendor").exists():
        ends = _link("16.0 GT/s PCIe", "16.0 GT/s PCIe", width, port_width)
        _write(above, {"vendor": "0x8086", "class": "0x060400", **ends, **_aer(0)})
        _listed(root, port, above)
    if driver is not None:
        held = root / "bus" / "pci" / "drivers" / driver
        held.mkdir(parents=True, exist_ok=True)
        (place / "driver").symlink_to(held)
    if physfn is not None:
        (place / "physfn").symlink_to(place.parent / physfn)
    _listed(root, where, place)
    return place


def _link(speed: str, most: str, width: int, widest: int) -> dict[str, str]:
    return {
        "current_link_speed": speed,
        "max_link_speed": most,
        "current_link_width": str(width),
        "max_link_width": str(widest),
    }


def _aer(correctable: int) -> dict[str, str]:
    counts = {"correctable": (correctable, "COR"), "nonfatal": (0, "NONFATAL"), "fatal": (0, "FATAL")}
    return {f"aer_dev_{name}": _AER.format(count, total) for name, (count, total) in counts.items()}


def _write(place: Path, contents: dict[str, str | None]) -> None:
    for name, text in contents.items():
        if text is not None:
            (place / name).write_text(f"{text.rstrip()}\n", encoding="utf-8", errors="surrogateescape")


def _listed(root: Path, where: str, place: Path) -> None:
    folder = root / "bus" / "pci" / "devices"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / where).symlink_to(place)
