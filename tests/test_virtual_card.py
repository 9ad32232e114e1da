"""The virtual card: what it answers, how it warms and slows, what each fault shows, and that it repeats exactly."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucert.catalogue import shelf
from gpucert.device.simulated import answers, scenario, thermal
from gpucert.device.simulated.card import VirtualCard
from gpucert.device.simulated.state import UnreadableStateError
from gpucert.device.simulated.wire import Load
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, EventReason, Identity, Sample, Settings

A100 = "NVIDIA A100-SXM4-80GB"
RTX_3090 = "NVIDIA GeForce RTX 3090"
IDLE = Load()
GEMM = Load(kind="arithmetic", rate="fp32")
MEMORY = Load(kind="memory")


def card(model=A100, *lines, state=None):
    text = f'model = "{model}"\n' + "\n".join(lines)
    return VirtualCard(scenario.parse(text, "test"), state)


def built_in(name):
    return VirtualCard(scenario.load(name))


def fault(kind, **fields):
    return f'[[fault]]\nkind = "{kind}"\n' + "\n".join(f"{name} = {value}" for name, value in fields.items())


# ---- identity, settings, counters ----


def test_a_data_centre_card_answers_what_nvml_would():
    identity, modes, counts = card().identity(), card().settings(), card().counters()
    assert (identity.name, identity.memory_mib, identity.window_mib) == (A100, 81920, 8)
    assert (identity.pci_device, identity.compute_capability, identity.cuda_cores) == ("20b2", "8.0", 6912)
    assert str(identity.serial).isdigit()
    assert (modes.ecc, modes.ecc_pending, modes.mig, modes.power_limit_w) == (True, True, False, 400.0)
    assert (modes.margin_c, modes.slowdown_c) == (answers.NOT_SUPPORTED, 89.0)
    assert (counts.ecc_corrected_volatile, counts.remap_banks, counts.nvlinks_up) == (0, (640, 0, 0, 0, 0), 12)
    assert counts.retired_dbe == answers.NOT_SUPPORTED


def test_a_geforce_has_no_serial_no_ecc_and_no_retired_pages():
    identity, modes, counts = card(RTX_3090).identity(), card(RTX_3090).settings(), card(RTX_3090).counters()
    for reading in (identity.serial, identity.board_part_number, modes.ecc, modes.mig):
        assert reading == answers.NOT_SUPPORTED
    for reading in (counts.ecc_corrected_volatile, counts.retired_sbe, counts.sram_threshold_exceeded):
        assert reading == answers.NOT_SUPPORTED
    assert modes.fans == 2


def test_only_newer_architectures_answer_a_margin_and_it_shrinks_with_heat():
    hopper = card("NVIDIA H100 80GB HBM3")
    before = hopper.settings().margin_c
    hopper.advance(60, GEMM)
    assert hopper.settings().margin_c < before - 20
    assert hopper.settings().slowdown_c == answers.NOT_SUPPORTED


def test_inline_ecc_takes_its_sixteenth():
    assert card("Tesla T4").identity().memory_mib == 15360
    assert card("NVIDIA RTX A6000").identity().memory_mib == 49140
    with_ecc = card("NVIDIA RTX A6000", "ecc = true").identity().memory_mib
    assert with_ecc == pytest.approx(49152 * 15 / 16, abs=20)


def test_the_scenario_overrides_text_that_the_card_answers():
    told = card(A100, "[identity]", 'serial = "1324020001234"', 'vbios = "<b>x</b>"').identity()
    assert (told.serial, told.vbios) == ("1324020001234", "<b>x</b>")


@pytest.mark.parametrize("key", shelf.keys())
def test_every_model_of_the_catalogue_makes_a_card(key):
    virtual = card(key)
    before = virtual.sample(0.0)
    moved = virtual.advance(2.0, MEMORY)
    assert moved.at_s == 2.0
    assert not moved.lost
    assert virtual.sample(2.0).power_w > before.power_w
    for answer in (virtual.identity(), virtual.settings(), virtual.counters()):
        assert not_asked(answer) == []


def not_asked(answer):
    return [name for name in answer.__struct_fields__ if getattr(answer, name) == Absent(Absence.UNKNOWN, "not asked")]


def test_cards_of_one_model_differ_and_one_seed_is_one_card():
    one, same, other = (card(A100, f"seed = {seed}") for seed in (1, 1, 2))
    assert one.identity() == same.identity()
    assert one.identity().uuid != other.identity().uuid
    watts = [virtual.advance(1.0, GEMM) and virtual.sample(1.0).power_w for virtual in (one, same, other)]
    assert watts[0] == watts[1] != watts[2]


# ---- physics ----


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.sampled_from([IDLE, GEMM, MEMORY])), min_size=1, max_size=8))
def test_cycles_are_those_of_the_reported_clock_and_fewer_where_it_sags(stretches):
    whole, sags = card(), card(A100, fault("effective_clock", factor=0.5))
    for seconds, load in stretches:
        before, moved, slower = whole.advance(0.0, IDLE), whole.advance(seconds, load), sags.advance(seconds, load)
        low, high = 210e6, whole.identity().max_sm_clock_mhz * 1e6
        assert low * 0.999 <= (moved.cycles - before.cycles) / seconds <= high * 1.001
        assert slower.cycles == pytest.approx(moved.cycles / 2, rel=1e-9)
        assert slower.sm_clock_mhz == moved.sm_clock_mhz, "nothing that is reported tells it"


def test_arithmetic_follows_the_real_clock_and_memory_does_not():
    def seconds(load, **fields):
        return card(A100, *([fault("effective_clock", **fields)] if fields else [])).advance(99.0, load).seconds

    work, traffic = Load(kind="arithmetic", rate="fp32", flop=3e13), Load(kind="memory", bytes_read=2e12)
    assert seconds(work, factor=0.5) == pytest.approx(2 * seconds(work), rel=0.02)
    assert seconds(traffic, factor=0.5) == seconds(traffic)


def test_missing_tpcs_take_their_share_of_arithmetic_and_of_the_cores():
    short = card(A100, fault("tpc_missing", count=3))
    assert (card().identity().cuda_cores, short.identity().cuda_cores) == (6912, 102 * 64)
    work = Load(kind="arithmetic", rate="fp16", flop=1e15)
    assert short.advance(99.0, work).seconds == pytest.approx(card().advance(99.0, work).seconds * 108 / 102, rel=0.01)
    assert card("Tesla P40", fault("tpc_missing", count=1)).identity().cuda_cores == 29 * 128


@pytest.mark.parametrize("key", [A100, RTX_3090, "Tesla T4", "NVIDIA L4"])
def test_the_network_has_the_resistances_of_the_catalogue(key):
    heat = shelf.get(key).thermal
    network = thermal.network(heat.fast_c_per_w, heat.total_c_per_w)
    assert network.rise_per_watt(1.0) == pytest.approx(heat.fast_c_per_w, rel=1e-6)
    assert network.total_c_per_w == pytest.approx(heat.total_c_per_w, rel=1e-9)
    assert min(network.c_per_w) > 0


@given(st.lists(st.floats(0.001, 30), min_size=1, max_size=8), st.floats(1, 700))
def test_heat_is_exact_whatever_the_steps(steps, watts):
    network = thermal.network(0.05, 0.13)
    rises = (0.0, 0.0, 0.0, 0.0)
    for step in steps:
        rises = thermal.warmed(rises, watts, network, thermal.decay(step))
    assert sum(rises) == pytest.approx(watts * network.rise_per_watt(sum(steps)), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in scenario.names() if name.startswith("healthy-")])
def test_a_healthy_card_ends_at_inlet_plus_resistance_times_power_without_thermal_slowdown(name):
    virtual = built_in(name)
    card_facts, began = virtual._silicon, virtual.counters().energy_mj
    virtual.advance(600, GEMM)
    middle = virtual.counters().energy_mj
    virtual.advance(60, GEMM)
    if not isinstance(middle, Absent):
        assert virtual.counters().energy_mj > middle > began
        watts = (virtual.counters().energy_mj - middle) / 1000 / 60
        network = card_facts.network_at(virtual._state.fan_percent)
        expected = card_facts.inlet_c + network.total_c_per_w * watts
        assert virtual.sample(0.0).temperature_c == pytest.approx(expected, abs=0.6)
    assert virtual.counters().throttle_thermal_ns == 0
    assert virtual.counters().throttle_power_brake_ns == 0
    assert virtual.sample(0.0).power_w <= virtual.settings().power_limit_w * 1.01


def test_half_of_the_first_five_seconds_of_warming_is_over_within_one():
    virtual = card()
    start = virtual.advance(0.0, IDLE).temperature_c
    first, fifth = (virtual.advance(seconds, GEMM).temperature_c - start for seconds in (1.0, 4.0))
    assert first > 0.5 * fifth


def test_temperature_is_in_whole_degrees_and_does_not_dither():
    virtual = card()
    virtual.advance(600, GEMM)
    virtual.drain()
    virtual.advance(10, GEMM)
    shown = {row.temperature_c for row in virtual.drain()}
    assert len(shown) == 1
    assert all(value == round(value) for value in shown)


def test_power_limit_holds_and_says_so():
    virtual = card(A100, fault("power_limit", watts=200))
    virtual.advance(30, GEMM)
    row = virtual.sample(30.0)
    assert row.power_w <= 201
    assert row.event_reasons & EventReason.SW_POWER_CAP
    assert row.sm_clock_mhz < 1410
    assert (virtual.settings().power_limit_w, virtual.settings().power_default_w) == (200.0, 400.0)


def test_heat_beyond_the_operating_maximum_slows_the_clock_and_is_counted():
    virtual = card(A100, "inlet_c = 45", fault("airflow", scale=3.0))
    virtual.advance(600, GEMM)
    row = virtual.sample(600.0)
    assert row.event_reasons & EventReason.SW_THERMAL
    assert row.temperature_c <= 89
    assert virtual.counters().throttle_thermal_ns > 1e9


def test_a_card_that_cannot_cool_at_all_switches_itself_off():
    virtual = card(A100, "inlet_c = 60", fault("airflow", scale=20.0), fault("interface", scale=20.0))
    assert virtual.advance(1200, GEMM).lost
    assert [event.code for event in virtual.events()] == ["79"]


def test_idle_is_cool_slow_and_says_idle():
    row = card(RTX_3090).sample(0.0)
    assert row.event_reasons == EventReason.IDLE
    assert row.sm_clock_mhz < 500
    assert (row.pcie_gen, row.pcie_width) == (1, 16)


def test_fans_follow_temperature_only_where_there_are_fans():
    own, passive = card(RTX_3090), card(A100)
    before = own.sample(0.0).fan_percent
    own.advance(300, GEMM)
    assert own.sample(300.0).fan_percent > before + 10
    assert passive.sample(0.0).fan_percent == answers.NOT_SUPPORTED


def test_only_hbm_answers_a_memory_temperature_and_memory_load_raises_it():
    hbm = card()
    hbm.advance(120, GEMM)
    under_gemm = hbm.sample(0.0).memory_temperature_c - hbm.sample(0.0).temperature_c
    hbm.advance(120, MEMORY)
    assert hbm.sample(0.0).memory_temperature_c - hbm.sample(0.0).temperature_c > under_gemm
    assert card(RTX_3090).sample(0.0).memory_temperature_c == answers.NOT_SUPPORTED


# ---- time ----


def test_telemetry_has_ten_rows_a_second_however_time_is_cut():
    virtual = card()
    for seconds in (0.03, 0.04, 0.5, 1.0, 0.001, 2.429):
        virtual.advance(seconds, GEMM)
    rows = virtual.drain()
    assert [row.at_s for row in rows] == [tick / 10 for tick in range(1, len(rows) + 1)]
    assert len(rows) == math.floor(virtual.now_s() * 10 + 1e-9)
    assert virtual.drain() == ()


def test_an_hour_loses_no_tick_and_costs_one_step_of_physics_for_each(monkeypatch):
    steps = []
    exact = thermal.warmed
    monkeypatch.setattr(thermal, "warmed", lambda *given: steps.append(1) or exact(*given))
    virtual = card()
    for _ in range(60):
        virtual.advance(60, GEMM)
    assert len(virtual.drain()) == len(steps) == 36_000
    assert virtual.now_s() == 3600.0
    assert len(virtual.freeze()) < 4096


def test_work_ends_an_advance_as_soon_as_it_is_done():
    virtual = card()
    whole = virtual.advance(1e6, Load(kind="arithmetic", rate="fp32", flop=1e15))
    assert whole.done == 1.0
    assert whole.seconds == pytest.approx(1e15 / (19.49e12 * 0.95), rel=0.1)
    part = virtual.advance(1.0, Load(kind="arithmetic", rate="fp32", flop=1e15))
    assert part.seconds == 1.0
    assert part.done == pytest.approx(1 / whole.seconds, rel=0.1)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_time_that_is_no_time_is_refused(seconds):
    with pytest.raises(ValueError, match="cannot advance"):
        card().advance(seconds, IDLE)


LOADS = st.sampled_from(
    [IDLE, GEMM, MEMORY, Load(kind="pcie", bytes_read=1e9), Load(kind="arithmetic", rate="fp16", flop=3e13)]
)
MOVES = st.lists(st.tuples(st.floats(0, 5), LOADS), max_size=6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**63 - 1), MOVES, MOVES)
def test_the_same_calls_give_the_same_card_also_through_a_freeze(seed, before, after):
    lines = (f"seed = {seed}", fault("ecc_corrected", per_minute=50), fault("xid", code=62, at_s=3))
    undisturbed, frozen = card(A100, *lines), card(A100, *lines)
    for seconds, load in before:
        assert undisturbed.advance(seconds, load) == frozen.advance(seconds, load)
    thawed = card(A100, *lines, state=frozen.freeze())
    for seconds, load in after:
        assert undisturbed.advance(seconds, load) == thawed.advance(seconds, load)
    assert undisturbed.drain() == thawed.drain()
    assert undisturbed.events() == thawed.events()
    assert undisturbed.counters() == thawed.counters()
    assert undisturbed.freeze() == thawed.freeze()


def test_a_frozen_card_is_json_and_anything_else_is_refused():
    state = card().freeze()
    assert msgspec.json.decode(state)["schema"] == "gpucert.virtual-card/1"
    for broken in (b"", b"{}", state.replace(b"virtual-card/1", b"virtual-card/9")):
        with pytest.raises(UnreadableStateError):
            card(state=broken)


# ---- faults: each shows in its own reading and nowhere else ----

HEALTHY = {A100: "healthy-a100-sxm4-80gb", RTX_3090: "healthy-rtx-3090"}


def readings(virtual):
    """Every reading of a card after a minute at work, by name."""
    virtual.advance(60, GEMM)
    rows = {f"sample.{name}": value for name, value in msgspec.structs.asdict(virtual.sample(60.0)).items()}
    for answer in (virtual.identity(), virtual.settings(), virtual.counters()):
        word = type(answer).__name__.lower()
        rows |= {f"{word}.{name}": value for name, value in msgspec.structs.asdict(answer).items()}
    return rows | {"processes": virtual.processes(), "events": tuple(event.code for event in virtual.events())}


SEEN = [
    ("ecc-corrected", {"counters.ecc_corrected_volatile", "counters.ecc_corrected_aggregate"}),
    ("ecc-uncorrected", {"counters.ecc_uncorrected_volatile", "counters.ecc_uncorrected_aggregate", "events"}),
    ("row-remap", {"counters.remapped_uncorrectable", "counters.remap_failure", "counters.remap_banks"}),
    ("row-remap-pending", {"counters.remapped_uncorrectable", "counters.remap_pending", "counters.remap_banks"}),
    ("remap-exhausted", {"counters.remap_banks"}),
    ("nvlink-down", {"counters.nvlinks_up"}),
    ("pending-mode", {"settings.ecc_pending"}),
    ("mig-on", {"settings.mig", "settings.mig_pending"}),
    ("other-process", {"processes", "settings.memory_used_mib"}),
    ("absurd", {"sample.temperature_c"}),
    ("slow-compute", set()),
    ("slow-memory", set()),
    ("sm-arithmetic", set()),
    ("stuck-bit", set()),
    ("stuck-bit-ecc", set()),
    ("hang", set()),
    ("crash", set()),
]


@pytest.mark.parametrize(("name", "seen"), SEEN, ids=[name for name, _ in SEEN])
def test_a_fault_shows_in_its_own_readings_and_nowhere_else(name, seen):
    healthy = readings(built_in(HEALTHY[scenario.load(name).model]))
    faulty = readings(built_in(name))
    assert {reading for reading, value in faulty.items() if value != healthy[reading]} == seen


def test_ecc_off_hides_the_counters_that_only_ecc_can_fill():
    virtual = built_in("ecc-off")
    assert (virtual.settings().ecc, virtual.settings().ecc_pending) == (False, False)
    assert virtual.counters().ecc_uncorrected_volatile == answers.NOT_SUPPORTED


def test_links_show_under_load():
    narrow, old = built_in("pcie-width"), built_in("pcie-gen")
    assert (narrow.sample(0.0).pcie_width, narrow.settings().pcie_width_max) == (8, 8)
    assert (old.sample(0.0).pcie_gen, old.settings().pcie_gen_max) == (2, 4)
    replaying = built_in("pcie-replays")
    before = replaying.counters().pcie_replays
    replaying.advance(60, IDLE)
    assert replaying.counters().pcie_replays - before == 6000


def test_counts_of_the_card_itself():
    assert built_in("retired-pages").counters().retired_dbe == 40
    assert built_in("inforom").counters().inforom_valid is False
    assert built_in("healthy-t4").counters().inforom_valid is True


def test_the_power_brake_halves_the_clock_and_is_counted_as_such():
    virtual = built_in("power-brake")
    virtual.advance(10, GEMM)
    row = virtual.sample(10.0)
    assert row.event_reasons & EventReason.HW_POWER_BRAKE
    assert not row.event_reasons & (EventReason.SW_THERMAL | EventReason.HW_THERMAL)
    assert row.sm_clock_mhz <= 0.5 * 1980
    assert virtual.counters().throttle_power_brake_ns == pytest.approx(10e9)
    assert virtual.counters().throttle_thermal_ns == 0


def test_interface_and_airflow_warm_at_their_own_time():
    def rise(name, seconds):
        virtual = built_in(name)
        start = virtual.advance(0.0, IDLE).temperature_c
        return virtual.advance(seconds, GEMM).temperature_c - start

    healthy_fast, healthy_slow = rise("healthy-rtx-3090", 1.0), rise("healthy-rtx-3090", 300.0)
    assert rise("interface", 1.0) > 1.8 * healthy_fast
    assert rise("interface", 300.0) < 1.6 * healthy_slow
    dusty, clean = (rise(name, 1.0) for name in ("airflow", "healthy-rtx-4090"))
    assert dusty < 1.15 * clean
    assert rise("airflow", 300.0) > 1.2 * rise("healthy-rtx-4090", 300.0), "less than twice: the fan turns faster"


@pytest.mark.parametrize(("sort", "at_rest", "hot"), [("automatic", 30, 85), ("fixed", 70, 70), ("stops", 0, 85)])
def test_a_fan_of_the_cards_own_follows_the_die_or_not(sort, at_rest, hot):
    virtual = card(RTX_3090, f'fan_mode = "{sort}"')
    assert virtual.sample(0.0).fan_percent == at_rest
    virtual.advance(300.0, GEMM)
    assert virtual.sample(0.0).fan_percent == pytest.approx(hot, abs=3)


def test_a_fan_that_stands_leaves_the_card_warmer_at_rest_and_still():
    standing, turning = (card(RTX_3090, f'fan_mode = "{sort}"') for sort in ("stops", "automatic"))
    before = standing.advance(0.0, IDLE).temperature_c
    assert before > turning.advance(0.0, IDLE).temperature_c + 2
    assert standing.advance(60.0, IDLE).temperature_c == pytest.approx(before, abs=0.5)


def test_the_air_can_warm_while_the_run_lasts():
    virtual = card(A100, "inlet_drift_c_per_min = 0.5")
    before = virtual.advance(0.0, IDLE).temperature_c
    assert virtual.advance(240.0, IDLE).temperature_c == pytest.approx(before + 2.0, abs=0.5)


def test_hot_inlet_lifts_the_whole_curve():
    cool, hot = built_in("healthy-a100-sxm4-80gb"), built_in("hot-inlet")
    assert hot.sample(0.0).temperature_c - cool.sample(0.0).temperature_c == 16


def test_a_counterfeit_answers_the_name_of_one_model_and_the_silicon_of_another():
    told = built_in("counterfeit").identity()
    assert (told.name, told.pci_device, told.memory_mib) == (RTX_3090, "2204", 24576)
    assert (told.cuda_cores, told.bus_bits) == (8704, 320)


@pytest.mark.parametrize(("name", "code"), [("xid", "62"), ("gsp", "119"), ("lost", "79"), ("ecc-uncorrected", "48")])
def test_a_timed_fault_is_logged_once_at_its_second(name, code):
    virtual = built_in(name)
    at_s = scenario.load(name).faults[0].at_s
    virtual.advance(at_s - 0.05, IDLE)
    assert virtual.events() == ()
    virtual.advance(0.1, IDLE)
    (event,) = virtual.events()
    assert (event.kind, event.code, event.at_s) == ("xid", code, at_s)
    virtual.advance(60, IDLE)
    assert virtual.events() == ()


def test_after_the_loss_every_reading_is_lost_and_time_goes_on():
    virtual = card(A100, fault("lost", at_s=3))
    moved = virtual.advance(10, GEMM)
    assert (moved.lost, moved.at_s) == (True, 10.0)
    assert virtual.advance(1.0, Load(kind="arithmetic", rate="fp32", flop=1.0)).done == 0.0
    for answer, kind in (
        (virtual.identity(), Identity),
        (virtual.settings(), Settings),
        (virtual.counters(), Counters),
        (virtual.sample(11.0), Sample),
    ):
        assert isinstance(answer, kind)
        for name in answer.__struct_fields__:
            value = getattr(answer, name)
            assert name in ("window_mib", "at_s") or value.absent is Absence.LOST
    assert virtual.processes().absent is Absence.LOST
    rows = virtual.drain()
    assert [isinstance(row.temperature_c, Absent) for row in rows] == [row.at_s > 3.0 for row in rows]
    assert len(rows) == 110


def test_an_absurd_sensor_answers_absurd_and_nothing_else_is_touched():
    reading = built_in("absurd").sample(0.0).temperature_c
    assert reading.absent is Absence.ABSURD
    assert "255" in reading.detail
