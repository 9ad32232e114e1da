"""What a name alone gets wrong: each trap of the trade goes through `inspect` and ends as what the card is."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpucert.catalogue import shelf
from gpucert.cli import main

CAPTURES = Path(__file__).parent / "captures"


def query() -> str:
    """One `nvidia-smi -q` of a GeForce RTX 4090."""
    text = (CAPTURES / "idle-and-load.txt").read_text("utf-8")
    start = text.index("==============NVSMI LOG")
    return text[start : text.index("####", start)]


def crafted(name: str, device: str, subsystem: str, memory_mib: int, watts: int = 450) -> str:
    """The same query as another card would answer it."""
    vendor, _, board = subsystem.partition(":")
    lines = {
        r"(Product Name +: ).*": name,
        r"(Device Id +: 0x)2684(?=10DE)": device.upper(),
        r"(Sub System Id +: 0x)\w{8}": (board + vendor).upper(),
        r"(FB Memory Usage\n +Total +: )\d+": str(memory_mib),
        r"((?:Current|Requested|Default) Power Limit +: )450": str(watts),
    }
    text = query()
    for pattern, answer in lines.items():
        text, times = re.subn(pattern, rf"\g<1>{answer}", text)
        assert times, pattern
    return text


def looked(tmp_path: Path, *answers: Any) -> dict[str, Any]:
    """The card as `gpucert inspect --json` tells it."""
    file = tmp_path / "card.txt"
    file.write_text(crafted(*answers), encoding="utf-8")
    done = CliRunner().invoke(main, ["inspect", "--json", str(file)])
    (card,) = json.loads(done.stdout)["cards"]
    found: dict[str, Any] = card
    return found


def identity(card: dict[str, Any]) -> dict[str, str]:
    """The diagnoses of its identity and their evidence, without those of parts that the borrowed query has."""
    borrowed = re.compile("row remapper counts")
    return {
        one["code"]: one["evidence"]
        for one in card["diagnoses"]
        if one["code"] in ("identity.mismatch", "identity.memory") and not borrowed.search(one["evidence"])
    }


@pytest.mark.parametrize(
    ("answers", "model"),
    [
        (("Quadro RTX 6000", "1e30", "10de:12ba", 23040), "Quadro RTX 6000"),
        (("Quadro RTX 8000", "1e30", "10de:129e", 46080), "Quadro RTX 8000"),
        (("Quadro RTX 8000", "1e30", "103c:0000", 46080), "Quadro RTX 8000"),
        (("Quadro RTX 6000", "1e78", "10de:13d9", 23040), "Quadro RTX 6000 Passive"),
        (("NVIDIA A2", "25b6", "10de:157e", 15356), "NVIDIA A2"),
        (("NVIDIA A16", "25b6", "10de:14a9", 15356), "NVIDIA A16"),
        (("NVIDIA A10", "2236", "10de:1482", 23028), "NVIDIA A10"),
        (("NVIDIA A10", "2236", "10de:149d", 23028), "NVIDIA A10"),
        (("NVIDIA A100-SXM4-80GB", "20b2", "10de:1463", 81920, 400), "NVIDIA A100-SXM4-80GB"),
        (("NVIDIA A100-SXM4-80GB", "20b2", "10de:147f", 81920, 500), "NVIDIA A100-SXM4-80GB"),
        (("Tesla V100-SXM3-32GB", "1db8", "10de:131d", 32510, 350), "Tesla V100-SXM3-32GB"),
        (("Tesla V100-SXM3-32GB-H", "1db8", "10de:131d", 32510, 450), "Tesla V100-SXM3-32GB"),
        (("NVIDIA GeForce RTX 3060", "2503", "1043:0000", 12288), "NVIDIA GeForce RTX 3060 12GB"),
        (("NVIDIA GeForce RTX 3080", "220a", "1462:3898", 12288), "NVIDIA GeForce RTX 3080 12GB"),
        (("NVIDIA GH200 480GB", "2342", "10de:1809", 97871), "NVIDIA GH200 480GB"),
        (("NVIDIA GH200 120GB", "2342", "10de:16eb", 97871), "NVIDIA GH200 480GB"),
        (("NVIDIA GH200 144G HBM3e", "2348", "10de:18d2", 147456), "NVIDIA GH200 144G HBM3e"),
        (("GeForce RTX 2080 Ti", "1e07", "1043:8666", 11264), "NVIDIA GeForce RTX 2080 Ti"),
        (("A100-SXM4-40GB", "20b0", "10de:134f", 40537), "NVIDIA A100-SXM4-40GB"),
        (("A100-SXM-80GB", "20b2", "10de:1463", 81251), "NVIDIA A100-SXM4-80GB"),
        (("Tesla V100-SXM2-16GB", "1db1", "10de:1212", 16160), "Tesla V100-SXM2-16GB"),
    ],
)
def test_products_that_share_a_name_or_an_id_are_what_their_ids_and_sizes_say(
    tmp_path: Path, answers: tuple[Any, ...], model: str
) -> None:
    card = looked(tmp_path, *answers)
    assert (card["model"], card["graded"], identity(card)) == (model, True, {})
    assert "power.limit" not in {one["code"] for one in card["diagnoses"]}, "either board's own default is no cap"


@pytest.mark.parametrize(
    ("answers", "gib"),
    [
        (("NVIDIA GeForce RTX 2080 Ti", "1e07", "1043:8666", 22528), 11),
        (("NVIDIA GeForce RTX 3080", "2206", "1043:8786", 20480), 10),
        (("NVIDIA GeForce RTX 4090", "2684", "1043:8888", 49140), 24),
        (("NVIDIA GeForce RTX 4090 D", "2685", "1043:8888", 49140), 24),
    ],
)
def test_a_card_with_more_memory_than_its_model_may_be_modified(
    tmp_path: Path, answers: tuple[Any, ...], gib: int
) -> None:
    card = looked(tmp_path, *answers)
    assert card["model"].startswith("NVIDIA GeForce RTX")
    (said,) = identity(card).values()
    assert list(identity(card)) == ["identity.memory"]
    assert f"it has {answers[3]} MiB of memory instead of {gib} GiB (modified cards with more memory are on" in said
    assert (card["outcome"], card["exit_code"]) == ("not_certified", 20)


def test_a_card_with_less_memory_is_not_called_modified(tmp_path: Path) -> None:
    card = looked(tmp_path, "NVIDIA GeForce RTX 3060", "2504", "1043:0000", 8192)
    said = "device 2504 is NVIDIA GeForce RTX 3060 12GB, but it has 8192 MiB of memory instead of 12 GiB"
    assert identity(card) == {"identity.memory": said}


def test_the_narrow_3060_is_another_card_of_that_name_and_not_graded(tmp_path: Path) -> None:
    card = looked(tmp_path, "NVIDIA GeForce RTX 3060", "24c7", "1043:0000", 8192)
    assert (card["graded"], identity(card)) == (False, {})
    assert "NVIDIA GeForce RTX 3060, which is not in the catalogue in this variant" in card["model_reason"]


@pytest.mark.parametrize(
    ("answers", "graded"),
    [
        (("NVIDIA CMP 170HX", "20c2", "10de:1585", 8192), True),
        (("NVIDIA CMP 50HX", "1e09", "10de:1554", 10240), True),
        (("NVIDIA CMP 90HX", "220d", "1458:0000", 10240), True),
        (("NVIDIA CMP 40HX", "1f0b", "1458:0000", 8192), False),
        (("P106-100", "1bc7", "1458:0000", 6144), False),
        (("NVIDIA P102-100", "1b07", "1458:0000", 5120), False),
    ],
)
def test_a_mining_card_is_called_one(tmp_path: Path, answers: tuple[Any, ...], graded: bool) -> None:
    card = looked(tmp_path, *answers)
    assert (card["model"], card["graded"]) == (answers[0], graded)
    assert "mining card" in card["model_reason"]
    assert identity(card) == {}
    if graded:
        assert "no rate of arithmetic is judged" in card["model_reason"]


def test_a_mining_card_under_the_name_of_its_sibling_is_found_out(tmp_path: Path) -> None:
    card = looked(tmp_path, "NVIDIA GeForce RTX 3080", "220d", "1458:0000", 10240)
    (said,) = identity(card).values()
    assert list(identity(card)) == ["identity.mismatch"]
    assert "is NVIDIA CMP 90HX (a mining card" in said


def test_mining_cards_have_no_rate_of_arithmetic_and_no_other_model_is_called_one() -> None:
    for model in shelf.every():
        mining = "CMP" in model.key
        assert (model.peak.fp32 is None) is mining
        pci = model.pci[0]
        found = shelf.match(
            name=None, device=pci.device, subvendor=pci.subvendor, subdevice=pci.subdevice,
            memory_mib=1024 * model.memory.size_gib, cuda_cores=model.cuda_cores,
        )  # fmt: skip
        assert ("mining card" in found.reason) is mining
