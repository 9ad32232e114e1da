"""The catalogue: its numbers obey physics, each has a source, and cards find their own model and no other."""

import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.catalogue import shelf, sources
from gpucert.catalogue.lint import lint
from gpucert.catalogue.matching import Match
from gpucert.catalogue.model import Model, PciId

MODELS = shelf.every()
CAPTURES = Path(__file__).parents[2] / "shared" / "captures"


def each(models=MODELS):
    return pytest.mark.parametrize("model", models, ids=lambda model: shelf.slug(model.key))


def match(name=None, device=None, subsystem=None, memory_mib=None, cuda_cores=None) -> Match:
    subvendor, subdevice = subsystem.split(":") if subsystem else (None, None)
    return shelf.match(
        name=name,
        device=device,
        subvendor=subvendor,
        subdevice=subdevice,
        memory_mib=memory_mib,
        cuda_cores=cuda_cores,
    )


# The shelf


def test_the_models_that_others_rely_on_are_there():
    expected = {"NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Tesla T4", "NVIDIA GeForce RTX 3080 10GB"}
    assert expected <= set(shelf.keys())
    assert len(shelf.keys()) == len(set(shelf.keys())) >= 88


@each()
def test_every_key_leads_to_its_own_file(model: Model):
    assert shelf.get(model.key) == model


def test_an_unknown_key_offers_the_nearest_ones():
    with pytest.raises(shelf.UnknownModelError, match=r"no model 'NVIDIA A100 SXM4 80GB'.*'NVIDIA A100-SXM4-80GB'"):
        shelf.get("NVIDIA A100 SXM4 80GB")
    for odd in ("", "../model", "\x00", "nvidia-a100-sxm4-80gb"):
        with pytest.raises(shelf.UnknownModelError):
            shelf.get(odd)


def text_of(key: str) -> str:
    file = Path(shelf.__file__).parent / "data" / f"{shelf.slug(key)}.toml"
    return file.read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bus_bits = 5120", 'bus_bits = "wide"', r"Expected `int`, got `str` - at `\$.memory.bus_bits`"),
        ("bus_bits = 5120", "bus_width = 5120", r"unknown field `bus_width` - at `\$.memory`"),
        ("peak_gb_s = 2039.0", "", r"missing required field `peak_gb_s` - at `\$.memory`"),
        ('ecc = "hbm_sideband"', 'ecc = "yes"', r"Invalid enum value 'yes' - at `\$.memory.ecc`"),
        ("[memory]", "[memory", "mine.toml: "),
    ],
)
def test_a_broken_file_is_refused_with_file_and_field(old: str, new: str, said: str):
    with pytest.raises(shelf.CatalogueError, match=said) as caught:
        shelf.parse(text_of("NVIDIA A100-SXM4-80GB").replace(old, new), "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert "\n" not in str(caught.value)


# Lint


def test_nothing_in_the_catalogue_is_known_to_be_wrong():
    assert [str(defect) for defect in lint(MODELS)] == []


def test_every_explained_source_is_used():
    used = {sources.code(text) for model in MODELS for texts in model.sources.values() for text in texts}
    assert used == set(sources.explained())


def changed(key: str, **facts: object) -> list[Model]:
    """The catalogue with some facts of one model replaced; `memory__bus_bits` is a field of a group."""
    model = shelf.get(key)
    for path, value in facts.items():
        group, _, field = path.rpartition("__")
        if group:
            value = msgspec.structs.replace(getattr(model, group), **{field: value})
        model = msgspec.structs.replace(model, **{group or field: value})
    return [model if one.key == key else one for one in MODELS]


V100_PCIE, V100_SXM2 = "Tesla V100-PCIE-16GB", "Tesla V100-SXM2-16GB"
A100_40, A100_80 = "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB"
OTHERS_MISTAKES = {
    "power of the SXM2 and the PCIe board swapped": (V100_SXM2, {"power__default_w": 240.0}, "power.default_w"),
    "L2 of the A100 doubled": ("NVIDIA A100 80GB PCIe", {"l2_mib": 80}, "l2_mib"),
    "L4 with 60 SMs and the cores of 58": ("NVIDIA L4", {"sm_count": 60}, "cuda_cores"),
    "L2 of the L40S halved": ("NVIDIA L40S", {"l2_mib": 48}, "l2_mib"),
    "half a package for a B200": (
        "NVIDIA B200",
        {"memory__bus_bits": 4096, "memory__peak_gb_s": 4096.0, "memory__size_gib": 90},
        "memory.bus_bits",
    ),
    "FP64 of an A10 at 1/32": ("NVIDIA A10", {"peak__fp64": 0.976}, "peak.fp64"),
    "A10G with 72 SMs": ("NVIDIA A10G", {"sm_count": 72, "cuda_cores": 9216}, "peak.fp32"),
    "P4 at another clock": ("Tesla P4", {"peak__clock_mhz": 1114}, "peak.fp32"),
    "P100 at NVML's highest clock": ("Tesla P100-PCIE-16GB", {"peak__clock_mhz": 1329}, "peak.fp32"),
    "A16 with the power of the whole board": ("NVIDIA A16", {"power__default_w": 250.0}, "thermal.total_c_per_w"),
    "bandwidth without a digit": ("NVIDIA L40", {"memory__peak_gb_s": 86.4}, "memory.peak_gb_s"),
    "bandwidth in MB/s": ("NVIDIA H200", {"memory__peak_gb_s": 4_917_000.0}, "memory.peak_gb_s"),
    "bandwidth of the sibling": (A100_80, {"memory__peak_gb_s": 1555.0}, "memory.peak_gb_s"),
    "a measured share above the peak": ("NVIDIA A10", {"achieved__memory_read": 640.7 / 600}, "achieved.memory_read"),
    "rate in GFLOP/s": ("NVIDIA B200", {"peak__fp16": 3_416_250.0}, "peak.fp16"),
    "clock in kHz": (A100_80, {"peak__clock_mhz": 1_410_000}, "peak.fp32"),
    "ids in upper case": (A100_80, {"pci": (PciId("20B2"),)}, "pci"),
    "an id of the sibling": (A100_80, {"pci": shelf.get(A100_40).pci, "memory__size_gib": 40}, "pci"),
    "sources left out": (A100_80, {"sources": {}}, "sources.memory"),
    "a source that nobody explains": (
        A100_80,
        {"sources": shelf.get(A100_80).sources | {"memory": ("A-BLOG",)}},
        "sources.memory",
    ),
    "the check as the only source": (
        A100_80,
        {"sources": shelf.get(A100_80).sources | {"memory": ("TPU-check",)}},
        "sources.memory",
    ),
    "limits out of order": (A100_80, {"thermal__slowdown_c": 99.0}, "thermal.shutdown_c"),
    "FMA of another line": ("NVIDIA GeForce RTX 4090", {"peak__fp16": 330.3}, "peak.fp16"),
    "a link that no NVLink has": (A100_80, {"links__nvlink_gb_s": 300.0}, "links.nvlink_gb_s"),
    "ECC on GDDR as beside HBM": ("NVIDIA A10", {"memory__ecc": "hbm_sideband"}, "memory.ecc"),
}
"""What models.md §2 and §0 found in other people's tables, planted into ours: model, facts, the field to be named."""


@pytest.mark.parametrize("mistake", OTHERS_MISTAKES)
def test_the_mistakes_of_other_tables_are_found_in_ours(mistake: str):
    key, facts, field = OTHERS_MISTAKES[mistake]
    found = lint(changed(key, **facts))
    assert field in {defect.field for defect in found if key in defect.key}, [str(one) for one in found]


def test_a_model_that_is_listed_twice_is_found():
    twice = msgspec.structs.replace(shelf.get("NVIDIA A2"), key="NVIDIA A2 (2021)")
    assert any(one.field == "pci" and "NVIDIA A2 and NVIDIA A2 (2021)" in one.key for one in lint([*MODELS, twice]))
    assert any(one.field == "key" for one in lint([*MODELS, shelf.get("NVIDIA A2")]))


def numbers(model: Model) -> list[str]:
    """Every number of a model that something else follows from; how many banks a remapper has is a bare count."""
    groups = {group: getattr(model, group) for group in ("memory", "peak", "achieved", "power", "thermal", "links")}
    return [
        f"{group}__{field}"
        for group, facts in groups.items()
        for field, value in msgspec.structs.asdict(facts).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and field != "remap_banks"
    ]


@pytest.mark.parametrize("key", [A100_80, "NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090", "Tesla V100-SXM2-16GB"])
@pytest.mark.parametrize("factor", [1000, 1 / 1000])
def test_a_factor_of_a_thousand_is_found_in_every_number(key: str, factor: float):
    model, missed = shelf.get(key), []
    for path in numbers(model):
        group, _, field = path.partition("__")
        value = getattr(getattr(model, group), field)
        wrong = round(value * factor) if isinstance(value, int) else value * factor
        if wrong != value and not any(key in one.key for one in lint(changed(key, **{path: wrong}))):
            missed.append(path)
    assert missed == []


# Identity


@each()
def test_every_model_finds_itself_by_each_of_its_ids(model: Model):
    nominal = 1024 * model.memory.size_gib
    for pci in model.pci:
        subsystem = f"{pci.subvendor}:{pci.subdevice}" if pci.subdevice else "1043:ffff"
        found = match(model.names[0], pci.device, subsystem, nominal - 64, model.cuda_cores)
        assert found.model == model, found.reason
        assert (found.name_agrees, found.memory_agrees, found.cores_agree) == (True, True, True)
        assert "but" not in found.reason


def test_a_mining_card_that_calls_itself_a100_is_found_out():
    found = match("NVIDIA A100-SXM4-40GB", "20c2", None, 7961, 4480)
    assert found.model is not None
    assert found.model.key == "NVIDIA CMP 170HX"
    assert (found.name_agrees, found.memory_agrees, found.cores_agree) == (False, True, True)
    assert found.reason.startswith("device 20c2 is NVIDIA CMP 170HX (a mining card: its firmware throttles arithmetic")
    assert found.reason.endswith("but the name says 'NVIDIA A100-SXM4-40GB'")


def test_more_memory_than_the_model_ever_had_is_said():
    found = match("NVIDIA GeForce RTX 2080 Ti", "1e07", "1043:8666", 22528, 4352)
    assert found.model is not None
    assert found.model.key == "NVIDIA GeForce RTX 2080 Ti"
    assert (found.name_agrees, found.memory_agrees) == (True, False)
    assert "but it has 22528 MiB of memory instead of 11 GiB (modified cards with more memory" in found.reason


@pytest.mark.parametrize(
    ("answers", "key"),
    [
        (("Quadro RTX 6000", "1e30", "10de:12ba", 23040, 4608), "Quadro RTX 6000"),
        (("Quadro RTX 8000", "1e30", "10de:129e", 46080, 4608), "Quadro RTX 8000"),
        (("Quadro RTX 8000", "1e30", "1014:0000", 46080, 4608), "Quadro RTX 8000"),
        (("Quadro RTX 6000", "1e78", "10de:13d9", 23040, 4608), "Quadro RTX 6000 Passive"),
        (("NVIDIA A2", "25b6", "10de:157e", 15356, 1280), "NVIDIA A2"),
        (("NVIDIA A16", "25b6", "10de:14a9", 15356, 1280), "NVIDIA A16"),
        (("NVIDIA GeForce RTX 3080", "220a", "1462:3898", 12288, 8960), "NVIDIA GeForce RTX 3080 12GB"),
        (("GeForce RTX 3080", "2206", None, 10240, None), "NVIDIA GeForce RTX 3080 10GB"),
        ((None, "2330", "1028:ffff", None, None), "NVIDIA H100 80GB HBM3"),
        (("NVIDIA Graphics Device", "20B2", "10DE:1463", 81251, None), "NVIDIA A100-SXM4-80GB"),
    ],
)
def test_products_that_share_a_name_or_an_id_are_told_apart(answers, key: str):
    found = match(*answers)
    assert found.model is not None, found.reason
    assert found.model.key == key
    assert found.name_agrees is not False


def test_what_cannot_be_told_apart_is_not_guessed():
    found = match(None, "25b6", None, 15356, 1280)
    assert found.model is None
    assert found.candidates == ("NVIDIA A16", "NVIDIA A2")
    assert found.reason == "device 25b6 could be NVIDIA A16 or NVIDIA A2"


@pytest.mark.parametrize(
    ("answers", "agrees", "said"),
    [
        (("NVIDIA GeForce RTX 3060", "24c7", "1043:0000", 8192, 3584), True, "not in the catalogue in this variant"),
        (
            ("NVIDIA RTX PRO 5000 72GB Blackwell", "2bb3", "10de:227a", 73000, 14080),
            True,
            "which is not in the catalogue",
        ),
        (("NVIDIA RTX A4000", "2182", "1043:0000", 6144, 1536), False, "but the name says 'NVIDIA RTX A4000'"),
        (("GeForce GTX 1060 6GB", "1244", "10de:0000", 1024, 192), False, "but the name says 'GeForce GTX 1060 6GB'"),
        (("GeForce GTX 1070", "1b81", "10de:0000", 8192, 1920), None, "device 1b81 with subsystem 10de:0000 is not in"),
        (("NVIDIA A100-SXM4-80GB", "zzzz", None, 81920, 6912), None, "device zzzz is not in the catalogue"),
        (("Graphics Device", "2184", None, 5944, None), None, "NVIDIA GeForce GTX 1660, which is not in the catalogue"),
    ],
)
def test_a_device_that_is_not_listed_is_never_matched_by_its_name(answers, agrees: bool | None, said: str):
    found = match(*answers)
    assert found.model is None
    assert found.name_agrees is agrees
    assert said in found.reason


@pytest.mark.parametrize(
    ("name", "memory_mib", "key"),
    [
        ("A100-SXM4-40GB", 40537, "NVIDIA A100-SXM4-40GB"),
        ("GeForce RTX 3080", 12288, "NVIDIA GeForce RTX 3080 12GB"),
        ("Tesla T4", None, "Tesla T4"),
        ("GeForce RTX 3080", None, None),
        ("GeForce RTX 3080", 20480, None),
        ("NVIDIA GeForce RTX 2080 Ti", 22528, None),
        ("\x1b[31mA100", 40537, None),
        (None, None, None),
    ],
)
def test_without_an_id_name_and_memory_must_both_fit(name: str | None, memory_mib: int | None, key: str | None):
    found = match(name, memory_mib=memory_mib)
    assert (found.model.key if found.model else None) == key
    if found.model is not None:
        assert found.by == "name"
        assert "by name only" in found.reason
    assert "\x1b" not in found.reason


hex4 = st.from_regex("[0-9a-f]{4}", fullmatch=True)
known_ids = st.sampled_from(sorted({pci.device for model in MODELS for pci in model.pci}))
names = st.one_of(st.none(), st.text(max_size=20), st.sampled_from([name for model in MODELS for name in model.names]))


@given(
    name=names,
    device=st.one_of(hex4, known_ids),
    subdevice=st.one_of(st.none(), hex4),
    memory_mib=st.one_of(st.none(), st.integers(0, 2**40)),
    cuda_cores=st.one_of(st.none(), st.integers(0, 2**31)),
)
def test_a_known_device_is_never_overruled_by_a_name(name, device, subdevice, memory_mib, cuda_cores):
    found = shelf.match(
        name=name,
        device=device,
        subvendor=subdevice and "10de",
        subdevice=subdevice,
        memory_mib=memory_mib,
        cuda_cores=cuda_cores,
    )
    assert found.reason
    if found.model is not None:
        assert any(pci.device == device for pci in found.model.pci)
        assert (found.memory_agrees is None) == (memory_mib is None)
        assert (found.cores_agree is None) == (cuda_cores is None)


# Real cards

PRODUCT = re.compile(r"Product Name\s*: (.+)|<product_name>(.+)</product_name>")
DEVICE = re.compile(r"Device Id\s*: 0x(\w{4})10DE|<pci_device_id>(?:0x)?(\w{4})10DE</pci_device_id>", re.IGNORECASE)
SUBSYSTEM = re.compile(r"Sub System Id\s*: 0x(\w{8})|<pci_sub_system_id>(?:0x)?(\w{8})</pci_sub_system_id>")
MEMORY = re.compile(r"^    FB Memory Usage\s+Total\s*: (\d+) MiB|<fb_memory_usage>\s*<total>(\d+) MiB", re.MULTILINE)
MIG_DEVICES = re.compile("<mig_devices>.*?</mig_devices>", re.DOTALL)
NOT_IN_CATALOGUE = re.compile("1070|P2000|P400|2080 SUPER|K80|Graphics Device")


def first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return next(group for group in found.groups() if group).strip() if found else None


def cards_of(text: str):
    """Name, device, subsystem and memory of each card in a document; one product name begins one card."""
    starts = [found.start() for found in PRODUCT.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        part = MIG_DEVICES.sub("", text[start:end])
        device, subsystem = first(DEVICE, part), first(SUBSYSTEM, part)
        yield first(PRODUCT, part), device, subsystem, first(MEMORY, part)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no folder ../shared/captures beside this repository")
def test_every_card_of_the_captures_is_the_model_that_it_says():
    seen = set()
    for file in sorted(CAPTURES.iterdir()):
        for name, device, subsystem, memory in cards_of(file.read_text("utf-8", "replace")):
            sub = f"{subsystem[4:]}:{subsystem[:4]}".lower() if subsystem else None
            found = match(name, device.lower() if device else None, sub, int(memory) if memory else None)
            if NOT_IN_CATALOGUE.search(str(name)):
                assert found.model is None, (file.name, found.reason)
                continue
            assert found.model is not None, (file.name, name, found.reason)
            assert found.name_agrees, (file.name, found.reason)
            assert found.memory_agrees is not False, (file.name, found.reason)
            seen.add(found.model.key)
    assert {"NVIDIA A10", "NVIDIA GeForce RTX 4090", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"} <= seen
