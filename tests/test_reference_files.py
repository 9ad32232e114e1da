"""Files of reference cards: each card with its conditions, and every mistake refused with file, place and remedy."""

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.baselines import learn, reference
from gpucert.baselines.baseline import build, centres
from gpucert.baselines.defaults import BaselineDataError, shipped
from gpucert.baselines.lint import lint
from gpucert.baselines.reference import NOT_STATED, References
from gpucert.catalogue import shelf

A100, A30 = "NVIDIA A100-SXM4-80GB", "NVIDIA A30"
READ = "memory_bandwidth.read_per_clock"
FP32, FP16 = "gemm_sustained.fp32_per_clock", "gemm_sustained.fp16_per_clock"

GOOD = f"""
model = "{A100}"
version = 1
kernel = "0123456789ab"

[card.GPU-1]
tested_at = 2026-11-02T09:30:00+00:00
driver = "580.95.05"
cuda = "13.0"
cublas = "13.1.0"
gpucert = "0.1.0"
inlet_c = 24.5
record_sha256 = "{"1" * 64}"

[card.GPU-2]
tested_at = 2026-11-04T17:00:00+00:00
driver = "575.57.08"
cuda = "13.0"
cublas = "13.1.0"
gpucert = "0.1.0"
inlet_c = "not stated"
record_sha256 = "{"2" * 64}"

[measure."{READ}"]
unit = "B/clk"
[measure."{READ}".value]
GPU-1 = 1150.0
GPU-2 = 1152.0
"""


def parsed(text: str, key: str | None = A100) -> References:
    return reference.parse(text, "mine.toml", key, shipped())


def refusal(text: str) -> str:
    """What is said of a file that is refused: one line that begins with its name."""
    with pytest.raises(BaselineDataError) as caught:
        parsed(text)
    said = str(caught.value)
    assert said.startswith("mine.toml: ")
    assert "\n" not in said
    return said


def test_conditions_belong_to_each_card_and_are_told_together():
    found = parsed(GOOD)
    one, other = found.conditions["GPU-1"], found.conditions["GPU-2"]
    assert (one.driver, one.inlet_c, one.record_sha256) == ("580.95.05", 24.5, "1" * 64)
    assert other.inlet_c == NOT_STATED
    measured = found.measures[READ]
    assert [(card.card, card.value) for card in measured.cards] == [("GPU-1", 1150.0), ("GPU-2", 1152.0)]
    assert measured.source == (
        "measured 2026-11-02 to 2026-11-04; driver 575.57.08, 580.95.05; CUDA 13.0; cuBLAS 13.1.0; gpucert 0.1.0; "
        "inlet 24.5 °C, of some not stated"
    )


def test_what_is_written_is_read_again_and_a_card_is_a_few_lines():
    text = learn.as_toml(parsed(GOOD))
    assert parsed(text) == parsed(GOOD)
    assert learn.as_toml(parsed(text)) == text
    changed = learn.as_toml(parsed(GOOD.replace("GPU-1 = 1150.0", "GPU-1 = 1149.0")))
    differing = [line for line in changed.splitlines() if line not in text.splitlines()]
    assert differing == ["GPU-1 = 1149.0"]


hostile = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(card=hostile, driver=hostile)
def test_any_name_survives_being_written(card: str, driver: str):
    found = parsed(GOOD)
    odd = References(
        A100,
        1,
        {READ: reference.gathered(found.measures[READ].unit, {card: 1150.0}, {card: found.conditions["GPU-1"]})},
        False,
        driver,
        {card: found.conditions["GPU-1"]},
    )
    assert parsed(learn.as_toml(odd)) == odd


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('unit = "B/clk"', 'unit = "GB/s"', f"measure.{READ}.unit is 'GB/s', but limits are in 'B/clk'"),
        ('kernel = "0123456789ab"', "", "kernel is missing: state it"),
        ('kernel = "0123456789ab"', 'kernel = ""', "kernel: expected `str` of length >= 1"),
        ('cuda = "13.0"', "", 'card.GPU-1.cuda is missing: state it (or "not stated")'),
        ('cuda = "13.0"', "cuda = 13.0", "card.GPU-1.cuda: expected `str`, got `float`"),
        ('cuda = "13.0"', 'cuda = "13.0"\nweight = 1', "card.GPU-1.weight is an unknown field: remove it"),
        ("inlet_c = 24.5", "inlet_c = 240.5", "card.GPU-1.inlet_c: expected `float` <= 60.0"),
        ("inlet_c = 24.5", 'inlet_c = "cold"', "card.GPU-1.inlet_c: invalid enum value 'cold'"),
        ("2026-11-02T09:30:00+00:00", "2026-11-02", "card.GPU-1.tested_at: expected `datetime`"),
        ("2026-11-02T09:30:00+00:00", "2026-11-02T09:30:00", "card.GPU-1.tested_at: expected `datetime` with a time"),
        ("2026-11-02T09:30:00+00:00", "2026-13-02T09:30:00Z", "not TOML"),
        (f'"{"1" * 64}"', '"1111"', "card.GPU-1.record_sha256: expected `str` matching regex"),
        (f'"{"1" * 64}"', f'"{"2" * 64}"', "card.GPU-2.record_sha256 is that of GPU-1 too: a record is of one card"),
        ("[card.GPU-2]", "[card.GPU-1]", "a card or a measure stands there twice, keep one"),
        ("GPU-2 = 1152.0", "GPU-1 = 1152.0", "a card or a measure stands there twice, keep one"),
        ("[card.GPU-2]", "[card.gpu-1]", "card.gpu-1 is GPU-1 in other letters: keep one of them"),
        ("GPU-2 = 1152.0", "", "card.GPU-2 has no value in any measure: add its values, or remove it"),
        ("GPU-2 = 1152.0", "GPU-2 = 1152.0\nGPU-3 = 1.0", "value.GPU-3 is no card of this file: state its conditions"),
        ("GPU-1 = 1150.0", "GPU-1 = 0.0", f"measure.{READ}.value[...]: expected `float` > 0.0"),
        ("GPU-1 = 1150.0", "GPU-1 = nan", f"measure.{READ}.value[...]: expected `float` > 0.0"),
        ("GPU-1 = 1150.0", "GPU-1 = inf", f"measure.{READ}.value.GPU-1 is not a finite number: leave that card out"),
        ("GPU-1 = 1150.0", 'GPU-1 = "1150"', "expected `float`, got `str`"),
        ("GPU-1 = 1150.0\nGPU-2 = 1152.0", "", "GPU-1 has no value in any measure"),
        (
            READ,
            "memory_bandwidth.peak",
            "measure.memory_bandwidth.peak is no measure that has limits; these have: gemm",
        ),
        (A100, A30, f"model is '{A30}', but the file is that of '{A100}'"),
        ("version = 1", "version = 1\nauthor = 'me'", "author is an unknown field: remove it"),
        ("version = 1", "version = 0", "version: expected `int` >= 1"),
        ("version = 1", "version = 1\n[[card]]", "card: expected"),
        ("version = 1", "version = 1\nsimulated = 1", "simulated: expected `bool`, got `int`"),
    ],
)
def test_a_mistake_is_refused_with_file_place_and_remedy(old: str, new: str, said: str):
    assert old in GOOD
    text = GOOD.replace(old, new) if old == READ else GOOD.replace(old, new, 1)
    assert said in refusal(text)


def test_kernels_of_another_version_leave_the_prior():
    found, model = parsed(GOOD), shelf.get(A100)
    same = build(model, shipped(), found.for_kernel("0123456789ab")).find(READ)
    other = build(model, shipped(), found.for_kernel("ba9876543210")).find(READ)
    assert same is not None
    assert other is not None
    assert (same.n, other.n) == (2, 0)
    assert other.source.startswith("prior")


# Lint: what cannot be true of the model


def healthy(key: str, n: int = 4) -> dict[str, dict[str, float]]:
    """Values of n cards that are what the catalogue expects of a model."""
    return {
        centre.measure: {f"GPU-{k}": centre.value * (1 + 0.004 * (k - n / 2)) for k in range(n)}
        for centre in centres(shelf.get(key))
    }


def file_of(key: str, values: dict[str, dict[str, float]], version: int = 2) -> str:
    cards = sorted({card for row in values.values() for card in row})
    told = [
        f'[card.{card}]\ntested_at = 2026-11-0{k + 1}T00:00:00Z\ndriver = "580.95.05"\ncuda = "13.0"\ncublas = "13.1"\n'
        f'gpucert = "0.1.0"\ninlet_c = 24.0\nrecord_sha256 = "{k:064x}"\n'
        for k, card in enumerate(cards)
    ]
    rows = [
        f'[measure."{name}"]\nunit = "{shipped().measures[name].unit.value}"\n[measure."{name}".value]\n'
        + "".join(f"{card} = {value!r}\n" for card, value in row.items())
        for name, row in values.items()
    ]
    head = f'model = "{key}"\nversion = {version}\nkernel = "0123456789ab"\n'
    return "\n".join((head, *told, *rows))


def defects(key: str, values: dict[str, dict[str, float]]) -> list[str]:
    found = parsed(file_of(key, values), None)
    return [str(one) for one in lint(shelf.get(key), found, shipped(), shelf.every())]


@pytest.mark.parametrize("key", shelf.keys(), ids=shelf.slug)
def test_what_healthy_cards_measure_is_believed_of_every_model(key: str):
    assert defects(key, healthy(key)) == []


def test_a_run_may_lack_a_measure():
    values = healthy(A100)
    del values[READ]["GPU-1"], values["thermal.fast"]["GPU-2"], values["thermal.total"]["GPU-0"]
    assert defects(A100, values) == []


def test_a_slow_card_is_contamination_and_no_mistake():
    values = healthy(A100)
    values[READ]["GPU-1"] *= 0.8
    values["thermal.total"]["GPU-2"] *= 1.4
    assert defects(A100, values) == []


def times(factor: float, measure: str, card: str | None = None):
    def planted(values: dict[str, dict[str, float]]) -> None:
        for one in values[measure]:
            if card in (None, one):
                values[measure][one] *= factor

    return planted


def moved(source: str, target: str):
    def planted(values: dict[str, dict[str, float]]) -> None:
        values[target] = values[source]

    return planted


def of_another(key: str, measure: str):
    def planted(values: dict[str, dict[str, float]]) -> None:
        values[measure] = healthy(key)[measure]

    return planted


RTX_12, RTX_10 = "NVIDIA GeForce RTX 3080 12GB", "NVIDIA GeForce RTX 3080 10GB"
PLANTED = {
    "a unit of 1000": (A100, times(1000, READ, "GPU-1"), f"measure.{READ}.value.GPU-1: ", "a factor of 1000"),
    "a unit of 1024": (A100, times(1 / 1024, READ, "GPU-1"), f"measure.{READ}.value.GPU-1: ", "a factor of 1024"),
    "a digit lost": (A100, times(0.1, READ, "GPU-0"), f"measure.{READ}.value.GPU-0: ", "a factor of 10"),
    "one direction": (A100, times(0.5, "memory_bandwidth.copy_per_clock"), "copy_per_clock.value.GPU-0: ", "of 2"),
    "degrees per kilowatt": (A100, times(1000, "thermal.slow"), "measure.thermal.slow.value.GPU-0: ", "of 1000"),
    "above the silicon": (A100, times(1.25, READ, "GPU-2"), f"measure.{READ}.value.GPU-2: ", "more than the silicon"),
    "fp32 in the row of fp16": (
        A100,
        moved(FP32, FP16),
        f"measure.{FP16}.value.GPU-0: ",
        "it looks like gemm_sustained.fp32",
    ),
    "fp16 in the row of fp32": (A100, moved(FP16, FP32), f"measure.{FP32}.value.GPU-0: ", FP16),
    "a wider sibling": (RTX_10, of_another(RTX_12, READ), f"measure.{READ}.value.GPU-0: ", RTX_12),
    "a narrower sibling": (RTX_12, of_another(RTX_10, READ), f"measure.{READ}: its middle", RTX_10),
    "half the tensor rate": ("NVIDIA RTX A5000", of_another("NVIDIA GeForce RTX 3090", FP16), FP16, "NVIDIA A10G"),
    "a rate without a unit": ("NVIDIA CMP 170HX", of_another(A100, FP32), f"measure.{FP32}: ", "remove the row"),
    "a part above the whole": (A100, moved("thermal.total", "thermal.fast"), "thermal.total.value.GPU-0", "its parts"),
    "parts above the whole": (A100, times(0.7, "thermal.total", "GPU-3"), "thermal.total.value.GPU-3", "not above"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found_at_its_place(mistake: str):
    key, plant, place, said = PLANTED[mistake]
    values = healthy(key)
    plant(values)
    found = defects(key, values)
    assert any(place in one and said in one for one in found), found


def numbers(tree: Any, path: tuple[str, ...] = ()):
    """Every number of a file with its path."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from numbers(value, (*path, name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, name), value


def refused(text: str) -> bool:
    try:
        found = parsed(text, None)
    except BaselineDataError:
        return True
    return bool(lint(shelf.get(found.model), found, shipped(), shelf.every()))


@given(data=st.data(), key=st.sampled_from(shelf.keys()), factor=st.sampled_from((1000, 1 / 1000)))
def test_a_factor_of_a_thousand_in_any_number_is_refused(data: st.DataObject, key: str, factor: float):
    text = file_of(key, healthy(key, 2), data.draw(st.integers(1, 999)))
    assert not refused(text)
    path, value = data.draw(st.sampled_from(list(numbers(tomllib.loads(text)))))
    wrong = value * factor if isinstance(value, float) or value % 1000 else value // 1000
    lines = text.splitlines()
    wanted = f"{path[-1]} = {value!r}"
    section = next((k for k, line in enumerate(lines) if line == _header(path)), 0)
    place = next(k for k in range(section, len(lines)) if lines[k] == wanted)
    lines[place] = f"{path[-1]} = {wrong!r}"
    assert refused("\n".join(lines)), (path, value, wrong)


def _header(path: tuple[str, ...]) -> str:
    quoted = (part if re.fullmatch("[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path[:-1])
    return f"[{'.'.join(quoted)}]"
