"""Scenarios are read strictly: every slip is refused in one line that names the file, the field and the remedy."""

import pytest

from gpucert.device.simulated import faults, scenario
from gpucert.device.simulated.scenario import ScenarioError

A100 = 'model = "NVIDIA A100-SXM4-80GB"\n'
RTX_3090 = 'model = "NVIDIA GeForce RTX 3090"\n'
V100 = 'model = "Tesla V100-SXM2-32GB"\n'


def fault(kind, **fields):
    written = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return f'[[fault]]\nkind = "{kind}"\n{written}'


def refusal(text):
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(text, "mine.toml")
    words = str(caught.value)
    assert words.startswith("mine.toml: ")
    assert "\n" not in words
    return words


def test_the_example_of_the_manual_is_read_as_written():
    text = A100 + (
        "vram_mib = 16\nseed = 7\ninlet_c = 24\necc = true\n"
        '[identity]\nserial = "1324020001234"\n' + fault("stuck_bit", offset=40961, bit=3, value=1, above_ecc="false")
    )
    read = scenario.parse(text, "mine.toml")
    assert read.identity == {"serial": "1324020001234"}
    assert read.faults == (faults.StuckBit(offset=40961, bit=3, value=1),)
    assert read.text == text
    assert read.ecc_on is True


def test_defaults_are_a_healthy_card_as_shipped():
    read = scenario.parse(A100, "mine.toml")
    assert (read.vram_mib, read.inlet_c, read.faults, read.ecc_on) == (8, 24.0, (), True)
    assert scenario.parse(RTX_3090, "mine.toml").ecc_on is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model =", ["not TOML"]),
        ("seed = 1\n", ["model"]),
        (A100 + "colour = 3\n", ["unknown field", "colour"]),
        (A100 + 'text = "x"\n', ["unknown field", "text"]),
        (A100 + "vram_mib = 0\n", ["vram_mib", ">= 1"]),
        (A100 + "vram_mib = 16.5\n", ["vram_mib", "int"]),
        (A100 + "seed = -1\n", ["seed", ">= 0"]),
        (A100 + "inlet_c = nan\n", ["inlet_c is nan"]),
        (A100 + 'ecc = "yes"\n', ["ecc", "bool"]),
        (RTX_3090 + "ecc = true\n", ["ecc", "no ECC", "leave the line out"]),
        (A100 + '[identity]\ncolour = "red"\n', ["identity.colour", "serial"]),
        (A100 + "[identity]\nserial = 12\n", ["identity", "str"]),
        ('model = "NVIDIA A100-SXM4-80G"\n', ["model", "'NVIDIA A100-SXM4-80GB'"]),
        (A100 + '[fault]\nkind = "lost"\n', ["[[fault]]"]),
        (A100 + "[[fault]]\nat_s = 3\n", ["fault[0]", "kind"]),
        (A100 + fault("stuckbit"), ["fault[0]", "did you mean stuck_bit"]),
        (A100 + fault("load_step"), ["fault[0]", "does not simulate 'load_step'"]),
        (A100 + fault("lost", at_s=1) + fault("lost", at_s=-2), ["fault[1].at_s", ">= 0"]),
        (A100 + fault("lost", at_s="nan"), ["fault[0].at_s is nan"]),
        (A100 + fault("lost", at_s="inf"), ["fault[0].at_s is inf"]),
        (A100 + fault("lost", at_s='"soon"'), ["fault[0].at_s", "float"]),
        (A100 + fault("lost"), ["fault[0]", "at_s"]),
        (A100 + fault("lost", at_s=1, colour=2), ["fault[0]", "unknown field", "colour"]),
        (A100 + fault("stuck_bit", offset=16 << 20, bit=3, value=1), ["offset", "vram_mib"]),
        (A100 + fault("stuck_bit", offset=0, bit=64, value=1), ["bit", "<= 63"]),
        (A100 + fault("stuck_bit", offset=0, bit=1, value=2), ["value"]),
        (A100 + fault("transition", offset=0, bit=1, direction='"sideways"'), ["direction"]),
        (A100 + fault("dq", line=64, value=1), ["line must be below 64", "HBM2e"]),
        (RTX_3090 + fault("dq", line=16, value=1), ["line must be below 16", "GDDR6X"]),
        (A100 + fault("dq", line=1, value=1, probability=0), ["probability", "> 0"]),
        (A100 + fault("dq", line=1, value=1, probability=1.1), ["probability", "<= 1"]),
        (A100 + fault("coupling", aggressor=800, victim=807, bit=1), ["same word"]),
        (A100 + fault("coupling", aggressor=16 << 20, victim=0, bit=1), ["aggressor reaches beyond"]),
        (A100 + fault("coupling", aggressor=0, victim=16 << 20, bit=1), ["victim reaches beyond"]),
        (A100 + fault("intermittent", offset=16 << 20, bit=1, probability=0.5), ["offset reaches beyond"]),
        (A100 + fault("retention", offset=0, bit=1, hold_ms=32), ["refresh comes every 32 ms", "never be seen"]),
        (A100 + fault("retention", offset=16 << 20, bit=1, hold_ms=20), ["offset reaches beyond"]),
        (A100 + fault("retention", offset=0, bit=1, hold_ms=0), ["hold_ms", "> 0"]),
        (A100 + fault("refresh_lost", offset=4, bytes=64, seconds=1), ["multiples of 8"]),
        (A100 + fault("refresh_lost", offset=0, bytes=16 << 20, seconds=1), ["bytes reaches beyond"]),
        (A100 + fault("refresh_lost", offset=0, bytes=64, seconds=0), ["seconds", "> 0"]),
        (A100 + fault("edr_replay", per_second=0), ["per_second", "> 0"]),
        (A100 + fault("channel_missing", count=80), ["count must leave a channel", "80"]),
        (A100 + fault("channel_missing", count=0), ["count", ">= 1"]),
        (RTX_3090 + fault("contained", at_s=1), ["contains no errors", "GA100"]),
        (A100 + "ecc = false\n" + fault("contained", at_s=1), ["ECC is off"]),
        (V100 + fault("sram_threshold"), ["does not count errors of its SRAM"]),
        (A100 + "ecc = false\n" + fault("sram_threshold"), ["ECC is off"]),
        (A100 + "[[fault]]\nkind='alias'\nfrom=0\nto=4096\nbytes=8192\n", ["overlap"]),
        (A100 + "[[fault]]\nkind='alias'\nfrom=0\nto=4097\nbytes=16\n", ["multiples of 8"]),
        (A100 + "[[fault]]\nkind='alias'\nfrom=0\nto=16777200\nbytes=64\n", ["beyond the tested memory"]),
        (A100 + fault("fake_memory", real_mib=8), ["real_mib", "less than vram_mib"]),
        (A100 + fault("other_process", mib=8), ["mib", "less than vram_mib"]),
        (A100 + fault("sm_arithmetic", sm=108, unit='"fp32"'), ["sm must be below 108"]),
        (A100 + fault("tpc_missing") + fault("sm_arithmetic", sm=106, unit='"fp32"'), ["sm must be below 106"]),
        (A100 + fault("tpc_missing", count=54), ["count must leave a TPC", "54"]),
        (A100 + fault("tpc_missing", count=0), ["count", ">= 1"]),
        (A100 + fault("effective_clock", factor=0), ["factor", "> 0"]),
        (A100 + fault("effective_clock", factor=1.1), ["factor", "<= 1"]),
        (A100 + fault("sm_arithmetic", sm=1, unit='"fp128"'), ["unit"]),
        (A100 + fault("sm_arithmetic", sm=1, unit='"tensor"', dtype='"fp4"'), ["dtype", "fp4"]),
        (A100 + fault("sm_arithmetic", sm=1, unit='"fp32"', dtype='"bf16"'), ["bf16", 'unit = "tensor"']),
        (A100 + fault("wrong_every_time", unit='"sfu"', dtype='"fp64"'), ["fp64", 'unit = "fp64"']),
        (A100 + fault("slow_memory", factor=0), ["factor", "> 0"]),
        (A100 + fault("slow_memory", factor=1.5), ["factor", "<= 1"]),
        (A100 + fault("thermal_intermittent", above_c=50, below_c=50, cycles=1), ["below_c must be below above_c"]),
        (A100 + fault("thermal_intermittent", above_c=50, below_c=40, cycles=0), ["cycles", ">= 1"]),
        (A100 + fault("thermal_intermittent", above_c=50, below_c=40, cycles=1, line=64), ["line must be below 64"]),
        (A100 + fault("thermal_intermittent", above_c=50, below_c=40, cycles=1, effect='"fan"'), ["effect", "fan"]),
        (
            A100 + fault("thermal_intermittent", above_c=50, below_c=40, cycles=1, effect='"link"', line=1),
            ['line is for effect = "memory" alone'],
        ),
        (A100 + fault("pcie_width", width=16), ["width must be below 16"]),
        (A100 + fault("pcie_width", width=3), ["width"]),
        (A100 + fault("fan", index=0), ["NVIDIA A100-SXM4-80GB has no fan of its own"]),
        (A100 + fault("pcie_gen", gen=4), ["gen must be below 4"]),
        (A100 + fault("nvlink_down", link=12), ["link must be below 12"]),
        (A100 + fault("power_limit", watts=400), ["watts must be below 400"]),
        (A100 + fault("retired_pages", dbe=1), ["does not retire pages"]),
        (A100 + "ecc = true\n" + fault("ecc_off"), ["contradicts"]),
        (A100 + "ecc = false\n" + fault("ecc_corrected", per_minute=1), ["set ecc = true"]),
        (RTX_3090 + fault("ecc_uncorrected", at_s=1), ["ECC is off or absent"]),
        (RTX_3090 + fault("ecc_off"), ["no ECC"]),
        (RTX_3090 + fault("row_remap", failure="true"), ["does not remap rows"]),
        (RTX_3090 + fault("remap_exhausted"), ["does not remap rows"]),
        (RTX_3090 + fault("mig_on"), ["no MIG"]),
        (RTX_3090 + fault("pending_mode", mode='"ecc"'), ["no ECC mode"]),
        (A100 + fault("absurd", reading='"temperature_c"', value=40), ["working sensor", "-20 to 130"]),
        (A100 + fault("absurd", reading='"mood"', value=1), ["reading"]),
        (A100 + fault("counterfeit", actual_model='"NVIDIA A3"'), ["actual_model", "NVIDIA A30"]),
        (A100 + fault("xid", code=0, at_s=1), ["code", ">= 1"]),
        (A100 + fault("inforom", corrupt="false"), ["corrupt"]),
    ],
)
def test_a_slip_is_refused_in_one_line(text, words):
    said = refusal(text)
    assert [word for word in words if word not in said] == []


def test_an_absurd_reading_may_be_no_number():
    read = scenario.parse(A100 + fault("absurd", reading='"power_w"', value="nan"), "mine.toml")
    assert read.first(faults.Absurd).reading == "power_w"


def test_kinds_that_are_planned_and_kinds_that_exist_are_apart():
    assert not set(faults.KINDS) & set(faults.NOT_YET)


@pytest.mark.parametrize("name", scenario.names())
def test_every_built_in_scenario_is_read_and_says_what_it_is(name):
    read = scenario.load(name)
    assert read.summary
    assert (read.faults == ()) == name.startswith("healthy-")


def test_every_fault_has_a_built_in_scenario():
    shown = {fault.kind for name in scenario.names() for fault in scenario.load(name).faults}
    assert shown == set(faults.KINDS)


def test_a_dozen_models_have_a_healthy_card():
    models = {scenario.load(name).model for name in scenario.names() if name.startswith("healthy-")}
    assert len(models) >= 12


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ScenarioError, match="did you mean stuck-bit"):
        scenario.load("stuck-bitt")


def test_a_file_is_found_by_its_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(A100, encoding="utf-8")
    assert scenario.parse(*scenario.find(str(path))).model == "NVIDIA A100-SXM4-80GB"


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path):
    with pytest.raises(ScenarioError, match="No such file"):
        scenario.find(str(tmp_path / "absent.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="not UTF-8"):
        scenario.find(str(tmp_path / "binary.toml"))
