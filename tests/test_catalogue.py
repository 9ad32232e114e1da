"""The catalogue: its numbers obey physics, each has a source, and cards find their own model and no other."""

import re
from itertools import combinations, pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.catalogue import shelf, sources
from gpucert.catalogue.matching import FIRST_TURING_DEVICE, Match, memory_agrees
from gpucert.catalogue.model import Model

MODELS = shelf.every()
CAPTURES = Path(__file__).parents[2] / "shared" / "captures"

CORES_PER_SM_64 = {"GP100", "GV100", "TU102", "TU104", "GA100"}
FP64_HALF = {"GP100", "GV100", "GA100", "GH100", "GB100"}
FP64_CUT = {"NVIDIA H20", "NVIDIA H800", "NVIDIA H800 PCIe"}
HALF_RATE_TENSOR = {"NVIDIA A10G", "NVIDIA L20", "NVIDIA L40"}
CUT_TENSOR = {"NVIDIA H20"}
FMA_PER_CLOCK = {"Volta": 512, "Turing": 512, "Ada Lovelace": 512, "Ampere": 512, "Hopper": 2048, "Blackwell": 512}
GROUPS = {"identity", "structure", "memory", "peak", "achieved", "power", "thermal", "links"}


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


# Physics


@each()
def test_cores_follow_from_sms(model: Model):
    assert model.cuda_cores == model.sm_count * (64 if model.chip in CORES_PER_SM_64 else 128)


@each()
def test_bandwidth_follows_from_clock_and_bus(model: Model):
    memory = model.memory
    assert memory.peak_gb_s == pytest.approx(memory.clock_mhz * memory.bytes_per_clock / 1000, rel=0.02)
    assert memory.bus_bits % 32 == 0


@each()
def test_fp32_follows_from_cores_and_clock(model: Model):
    if model.peak.fp32 is None:
        assert "CMP" in model.key
    else:
        assert model.peak.fp32 == pytest.approx(2e-6 * model.cuda_cores * model.peak.clock_mhz, rel=0.005)


@each()
def test_fp64_is_the_chips_share_of_fp32(model: Model):
    peak = model.peak
    if peak.fp64 is None or peak.fp32 is None or model.key in FP64_CUT:
        return
    older = model.architecture in ("Pascal", "Turing")
    share = 1 / 2 if model.chip in FP64_HALF else 1 / 32 if older else 1 / 64
    assert (peak.fp64_vector or peak.fp64) == pytest.approx(peak.fp32 * share, rel=0.01)
    if peak.fp64_vector is not None:
        assert model.chip in {"GA100", "GH100"}
        assert peak.fp64 == pytest.approx(2 * peak.fp64_vector, rel=0.01)


@each()
def test_tensor_rate_follows_from_the_architecture(model: Model):
    peak = model.peak
    if peak.fp16 is None:
        assert model.architecture == "Pascal" or "CMP" in model.key
        return
    if model.key in CUT_TENSOR or model.chip == "GB100":
        return
    fma = 1024 if model.chip == "GA100" else FMA_PER_CLOCK[model.architecture]
    if "GeForce" in model.key or model.key in HALF_RATE_TENSOR:
        fma /= 2
    clock_mhz = peak.tensor_clock_mhz or peak.clock_mhz
    assert peak.fp16 == pytest.approx(2e-6 * fma * model.sm_count * clock_mhz, rel=0.01)
    assert peak.bf16 in (None, peak.fp16)
    assert (peak.bf16 is None) == (model.architecture in ("Volta", "Turing"))


@each()
def test_shares_and_units_fit_together(model: Model):
    shares = msgspec.structs.asdict(model.achieved)
    u_gemm, u_memory = shares.pop("u_gemm"), shares.pop("u_memory")
    assert 0 < u_gemm < 0.1
    assert 0 < u_memory < 0.1
    assert all(0.3 < share <= 1.0 for share in shares.values() if share is not None)
    for dtype in ("fp64", "fp32", "fp16", "bf16"):
        assert (shares[dtype] is None) == (getattr(model.peak, dtype) is None), dtype
    assert shares["memory_copy"] <= min(shares["memory_read"], shares["memory_write"])


@each()
def test_memory_has_the_ecc_of_its_type(model: Model):
    memory = model.memory
    if memory.ecc == "hbm_sideband":
        assert memory.type.startswith("HBM")
        assert memory.ecc_as_shipped
    if memory.ecc == "gddr_inline":
        assert memory.type.startswith("GDDR")
    if memory.ecc in ("none", "unknown"):
        assert not memory.ecc_as_shipped
    if any(word in model.key for word in ("GeForce", "TITAN", "Quadro", "RTX A")):
        assert not memory.ecc_as_shipped
    assert not (memory.row_remapping and memory.page_retirement)
    if memory.driver_mib is not None:
        assert memory_agrees(model, memory.driver_mib)


@each()
def test_limits_are_in_order(model: Model):
    power, thermal = model.power, model.thermal
    assert (power.min_w or 0) <= power.default_w
    assert power.max_w is None or power.default_w <= power.max_w
    assert power.idle_w is None or power.idle_w < 0.4 * power.default_w
    limits = [thermal.max_operating_c, thermal.slowdown_c, thermal.shutdown_c]
    known = [limit for limit in limits if limit is not None]
    assert known == sorted(known)
    assert all(75 <= limit <= 110 for limit in known)


@each()
def test_a_healthy_card_stays_below_its_limits(model: Model):
    thermal = model.thermal
    hottest = 30 + thermal.total_c_per_w * model.power.default_w
    limits = [thermal.max_operating_c, thermal.slowdown_c, thermal.tlimit_zero_c]
    assert 60 < hottest < min([95.0, *(limit for limit in limits if limit is not None)])
    assert thermal.total_c_per_w / 6.1 <= thermal.fast_c_per_w <= 0.52 * thermal.total_c_per_w


@each()
def test_links_are_plausible(model: Model):
    links = model.links
    assert links.pcie_gen in range(1, 6)
    assert links.pcie_width in (4, 8, 16)
    assert (links.nvlinks == 0) == (links.nvlink_gb_s is None)
    if links.nvlink_gb_s is not None:
        assert links.nvlink_gb_s / links.nvlinks in (28.125, 40, 50, 100)


def test_siblings_of_one_chip_resemble_each_other():
    for one, other in combinations(MODELS, 2):
        if one.chip == other.chip:
            assert one.compute_capability == other.compute_capability, (one.key, other.key)
            assert one.architecture == other.architecture
            assert abs(one.release_year - other.release_year) <= 4
        if one.chip == other.chip and one.sm_count == other.sm_count and one.memory.bus_bits == other.memory.bus_bits:
            assert None in (one.l2_mib, other.l2_mib) or one.l2_mib == other.l2_mib, (one.key, other.key)


# Sources


@each()
def test_every_group_has_sources_that_are_explained(model: Model):
    assert set(model.sources) == GROUPS
    for group, texts in model.sources.items():
        assert texts, group
        codes = {sources.code(text) for text in texts}
        assert codes <= set(sources.explained()), group
        assert codes != {"TPU-check"}, group


def test_every_explained_source_is_used():
    used = {sources.code(text) for model in MODELS for texts in model.sources.values() for text in texts}
    assert used == set(sources.explained())


# Identity


def test_no_two_models_share_an_identity():
    seen: dict[tuple[object, ...], str] = {}
    for model in MODELS:
        for pci in model.pci:
            identity = (pci, model.memory.size_gib, model.cuda_cores)
            assert identity not in seen, (model.key, seen.get(identity))
            seen[identity] = model.key


@each()
def test_pci_ids_are_four_hex_digits(model: Model):
    assert model.pci
    for pci in model.pci:
        parts = [pci.device] if pci.subdevice is None else [pci.device, str(pci.subvendor), pci.subdevice]
        assert all(re.fullmatch("[0-9a-f]{4}", part) for part in parts), pci
        assert (int(pci.device, 16) < FIRST_TURING_DEVICE) == (model.architecture in ("Pascal", "Volta")) or (
            model.chip == "GV100"
        )


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
    assert found.reason == "device 20c2 is NVIDIA CMP 170HX, but the name says 'NVIDIA A100-SXM4-40GB'"


def test_more_memory_than_the_model_ever_had_is_said():
    found = match("NVIDIA GeForce RTX 2080 Ti", "1e07", "1043:8666", 22528, 4352)
    assert found.model is not None
    assert found.model.key == "NVIDIA GeForce RTX 2080 Ti"
    assert (found.name_agrees, found.memory_agrees) == (True, False)
    assert found.reason.endswith("but it has 22528 MiB of memory instead of 11 GiB")


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
