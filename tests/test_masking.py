"""Masking: nothing that names a card or a host survives, everything else does, and pseudonyms stay the same."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpucert import record as records
from gpucert.outcome import StepStatus
from gpucert.record import Identity, PlanRun, Record, Settings, Station, StepRecord

ROOT = Path(__file__).parent.parent
CAPTURES = sorted((ROOT / "tests" / "captures").glob("*.*"))
KEY = b"k" * 32


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("masking", ROOT / "scripts" / "masking.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["masking"] = module
    spec.loader.exec_module(module)
    return module


masking = load()

hexes = st.text("0123456789abcdef", min_size=32, max_size=32)
uuids = hexes.map(lambda digits: "GPU-" + "-".join(re.findall("(.{8})(.{4})(.{4})(.{4})(.{12})", digits)[0]))
serials = st.text("0123456789", min_size=6, max_size=14) | st.text("0123456789ABCDEFGHJK", min_size=6, max_size=14)
pdis = st.integers(1 << 56, (1 << 64) - 1).map(hex)
bus_ids = st.builds("{:08x}:{:02x}:{:02x}.0".format, st.sampled_from([0, 1, 0x10]), *[st.integers(0, 255)] * 2)
hosts = st.from_regex(r"[a-z][a-z0-9-]{5,12}(\.[a-z]{4,8}){0,2}", fullmatch=True)
cards = st.fixed_dictionaries({"uuid": uuids, "serial": serials, "pdi": pdis, "bus_id": bus_ids})
anything = st.text(max_size=40) | st.text("0123456789abcdef:-. x", max_size=40)


def named(card: dict[str, str], host: str) -> list[str]:
    """Every way in which these names may be written: spelt out here, so that the test does not trust the code."""
    uuid, pdi, bus = card["uuid"], card["pdi"], card["bus_id"]
    domain, _, short = bus.partition(":")
    ways = [uuid, uuid[4:], uuid[4:].replace("-", ""), card["serial"], pdi, pdi[2:], host]
    if masking.names_something(host.partition(".")[0]):
        ways.append(host.partition(".")[0])
    if masking.names_something(bus):
        ways += [bus, f"{domain[-4:]}:{short}", f"{domain[-4:]}:{short[:5]}", short, bus.replace(":", "-")]
    return [way for way in ways if masking.names_something(way) or way == short]


def survivors(ways: list[str], text: str) -> list[str]:
    """The names that a text holds: short ones as a word, long ones anywhere."""
    text = text.lower()
    return [
        way
        for way in ways
        if re.search(rf"(?<![0-9a-z]){re.escape(way.lower())}(?![0-9a-z])", text)
        or (len(way) >= 8 and way.lower() in text)
    ]


def masker_of(card: dict[str, str], host: str) -> object:
    names = [*masking.names_of_record({"card": card}), *masking.names_of_host(host)]
    return masking.Masker(KEY, names)


@settings(max_examples=300, deadline=None)
@given(card=cards, host=hosts, noise=st.lists(anything, min_size=1, max_size=12), draw=st.data())
def test_no_name_survives_in_a_text(card: dict[str, str], host: str, noise: list[str], draw: st.DataObject) -> None:
    ways = named(card, host)
    parts = []
    for piece in noise:
        way = draw.draw(st.sampled_from(ways))
        parts += [piece, draw.draw(st.sampled_from([way, way.upper(), way.lower(), f'"{way}"', f"/{way}/"]))]
    masked = masker_of(card, host).text(draw.draw(st.sampled_from(["", " ", "\n", ":"])).join(parts))
    assert survivors(ways, masked) == []


@settings(max_examples=100, deadline=None)
@given(card=cards, host=hosts, noise=anything)
def test_no_name_survives_in_a_record_and_it_stays_one(card: dict[str, str], host: str, noise: str) -> None:
    ways = named(card, host)
    step = StepRecord(
        index=0,
        probe="identity",
        blocker=True,
        seconds=1.0,
        status=StepStatus.SKIPPED,
        reason=f"{noise} card {card['uuid'].upper()} on {host}",
        began_s=0.0,
        ended_s=0.5,
    )
    record = Record(
        simulated=False,
        started_at="2026-11-23T08:16:36+00:00",
        ended_at="2026-11-23T08:17:36+00:00",
        seed=2**53 - 1,
        card=Identity(name="NVIDIA A10", **card),
        settings=Settings(power_limit_w=150.5),
        station=Station(os="Linux", python="3.12.3", cpu_count=16, clock_utc="2026-11-23T08:16:36+00:00"),
        plan=PlanRun(name="quick", version=1, yields="report", best_tier=None, sha256="0f" * 32),
        versions={"gpucert": "0.1.0"},
        steps=(step,),
    )
    assume(not survivors(ways, record.plan.sha256))  # a hash that happens to hold a name is masked like any text
    masked = masker_of(card, host).json(records.encode(record).decode())
    assert survivors(ways, masked) == []
    assert survivors(ways, json.dumps(json.loads(masked))) == [], "escapes may hide no name"
    read = records.decode(masked.encode(), "masked")
    assert (read.seed, read.settings, read.plan, read.card.name) == (
        record.seed,
        record.settings,
        record.plan,
        "NVIDIA A10",
    )
    assert records.encode(read).decode() == masked, "a masked record is written as a record is"


@settings(max_examples=100, deadline=None)
@given(one=cards, other=cards, host=hosts)
def test_pseudonyms_are_stable_keep_their_shape_and_tell_cards_apart(
    one: dict[str, str], other: dict[str, str], host: str
) -> None:
    first = {name: masker_of(one, host).text(value) for name, value in one.items()}
    assert first == {name: masker_of(one, host).text(value) for name, value in one.items()}
    assert masker_of(one, host).text(str(first)) == str(first), "masking twice changes nothing more"
    assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["uuid"])
    assert len(first["serial"]) == len(one["serial"])
    second = {name: masker_of(other, host).text(value) for name, value in other.items()}
    if one["uuid"] != other["uuid"]:
        assert first["uuid"] != second["uuid"]
    elsewhere = masking.Masker(b"another key", masking.names_of_record({"card": one}))
    assert elsewhere.text(one["uuid"]) != first["uuid"], "without the key a pseudonym cannot be guessed"


@given(text=anything)
def test_a_text_without_names_is_left_alone(text: str) -> None:
    assert masking.Masker(KEY, []).text(text) == text


def test_values_that_name_nobody_are_no_names() -> None:
    nobody = {"uuid": "N/A", "serial": "0", "pdi": "0x0000000000000000", "bus_id": {"absent": "unknown"}}
    assert list(masking.names_of_record({"card": nobody})) == []
    assert list(masking.names_of_host("localhost")) == []


def test_a_name_that_cannot_be_replaced_stops_the_writing() -> None:
    masker = masking.Masker(KEY, [masking.Name("serial", "1324020001234")])
    masker._any = re.compile("(?!)")
    with pytest.raises(masking.IdentifierLeftError, match="serial"):
        masker.text("1324020001234")


@pytest.mark.parametrize(
    "capture", [path for path in CAPTURES if path.suffix in {".txt", ".xml"}], ids=lambda p: p.name
)
def test_captures_of_nvidia_smi_lose_their_names_and_little_else(capture: Path) -> None:
    text = capture.read_text(encoding="utf-8")
    names = set(masking.names_of_smi(text))
    assert {"uuid", "bus"} <= {name.kind for name in names}
    masked = masking.Masker(KEY, names).smi(text)
    assert survivors([name.value for name in names], masked) == []
    assert len(masked.splitlines()) == len(text.splitlines())
    changed = sum(before != after for before, after in zip(text.splitlines(), masked.splitlines(), strict=True))
    assert 0 < changed < len(text.splitlines()) / 4


def test_processes_and_places_of_nvidia_smi_are_hidden() -> None:
    text = (
        "    Board ID                              : 0x4100\n        Bus                               : 0x41\n"
        "    Processes\n        GPU instance ID                   : N/A\n"
        "        Compute instance ID               : N/A\n"
        "        Process ID                        : 4242\n            Type                          : C\n"
        "            Name                          : /home/somebody/train.py\n"
    )
    masked = masking.Masker(KEY, []).smi(text)
    assert [word for word in ("0x4100", "0x41\n", "somebody") if word in masked] == []
    assert "4242" in masked
    assert "somebody" not in masking.Masker(KEY, []).smi("<process_name>/home/somebody/x</process_name>")


def folder_of_a_run(folder: Path) -> Path:
    card = {"uuid": "GPU-5e1f0c3d-1111-2222-3333-0123456789ab", "serial": "1324020001234", "bus_id": "00000000:65:00.0"}
    run = folder / "run" / str(card["uuid"])
    run.mkdir(parents=True)
    (run / "record.json").write_text(json.dumps({"card": card, "events": ["Xid (PCI:0000:65:00): 79"]}))
    (run / "telemetry.csv").write_text("step,at_s\n0,0.1\n")
    (run / "certificate.html").write_text(str(card["serial"]))
    (folder / "run" / "nvidia-smi.xml").write_text("<uuid>GPU-aaaabbbb-1111-2222-3333-0123456789ab</uuid>")
    return folder / "run"


def mask(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "masking.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_a_folder_is_masked_by_one_command(tmp_path: Path) -> None:
    source = folder_of_a_run(tmp_path)
    done = mask(source, tmp_path / "masked", HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    written = sorted((tmp_path / "masked").rglob("*.*"))
    assert {path.name for path in written} == {"record.json", "telemetry.csv", "nvidia-smi.xml"}
    told = "".join(f"{path}\n{path.read_text()}" for path in written if path.is_file())
    assert (
        survivors(["5e1f0c3d-1111-2222-3333-0123456789ab", "1324020001234", "0000:65:00", "aaaabbbb-1111"], told) == []
    )
    key = tmp_path / ".local/share/gpucert/mask.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    mask(source, tmp_path / "again", HOME=str(tmp_path))
    again = "".join(path.read_text() for path in sorted((tmp_path / "again").rglob("*.*")) if path.is_file())
    assert again == "".join(path.read_text() for path in written if path.is_file())


@pytest.mark.parametrize("wrong", ["no source", "nothing in it", "full target", "broken record"])
def test_a_folder_that_cannot_be_masked_is_one_line_and_leaves_nothing(tmp_path: Path, wrong: str) -> None:
    source, target = folder_of_a_run(tmp_path), tmp_path / "masked"
    match wrong:
        case "no source":
            source = tmp_path / "nowhere"
        case "nothing in it":
            source = tmp_path / "empty"
            source.mkdir()
        case "full target":
            target = source
        case _:
            next(source.rglob("record.json")).write_text('{"card"')
    done = mask(source, target, HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "masked").exists()
