"""The recipe for a new probe, tried: one file, one limit, one line in a plan, and nothing else is edited."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROBE = '''"""Thermometer: whether the card tells its temperature while it computes."""

from gpucert.probes.bench import Bench, Measure, Probe
from gpucert.reading import Absent
from gpucert.stress.backend import DType
from gpucert.units import Unit


def run(bench: Bench) -> None:
    """Compute for a while, and count the rows without a temperature."""
    began = bench.card.now_s()
    matrices = bench.backend.matrices(DType.FP32, 256, bench.seed, exact=False)
    while bench.card.now_s() - began < 1:
        matrices.run(1000, check=False)
    matrices.free()
    rows = bench.card.samples(began)
    bench.measure("rows", len(rows))
    bench.measure("silent", sum(isinstance(row.temperature_c, Absent) for row in rows))


PROBE = Probe(
    name="thermometer",
    summary="whether the card tells its temperature while it computes",
    measures=(
        Measure("rows", Unit.COUNT, "rows of telemetry under load"),
        Measure("silent", Unit.COUNT, "of those, rows without a temperature"),
    ),
    run=run,
)
'''

LIMITS = """
["thermometer.rows"]
unit = "1"
at_least = 1
proof = true
says = "Nothing was watched."

["thermometer.silent"]
unit = "1"
at_most = 0
says = "The thermometer fell silent under load."
"""

STEP = """
[[step]]
probe = "thermometer"
seconds = 10
blocker = true
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, as a wheel would lay it out."""
    shutil.copytree(ROOT / "src" / "gpucert", tmp_path / "gpucert")
    shutil.copytree(ROOT / "stress", tmp_path / "gpucert" / "stress")
    shutil.copytree(ROOT / "reports", tmp_path / "gpucert" / "reports")
    return tmp_path


def certify(copy: Path, scenario: str, run: str) -> tuple[str, dict[str, str]]:
    """The outcome of a quick run in the copy, and the outcome of each finding of the new probe."""
    subprocess.run(
        [sys.executable, "-m", "gpucert", "certify", "--simulate", scenario, "--plan", "quick", "--out", run],
        env=os.environ | {"PYTHONPATH": str(copy), "XDG_DATA_HOME": str(copy)},
        cwd=copy,
        capture_output=True,
        timeout=120,
        check=False,
    )
    (file,) = (copy / run).glob("*/verdict.json")
    verdict = json.loads(file.read_text())
    return verdict["outcome"], {
        one["measure"]: one["outcome"] for one in verdict["findings"] if one["probe"] == "thermometer"
    }


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_a_probe_is_added_as_the_recipe_says(copy: Path) -> None:
    (copy / "gpucert" / "probes" / "thermometer.py").write_text(PROBE)
    append(copy / "gpucert" / "run" / "plans" / "quick.toml", STEP)
    without_limit = certify(copy, "healthy-a10", "first")
    assert without_limit == ("incomplete", {"rows": "error", "silent": "error"})

    append(copy / "gpucert" / "verdict" / "limits.toml", LIMITS)
    assert certify(copy, "healthy-a10", "second") == ("reported", {"rows": "pass", "silent": "pass"})


def test_a_limit_that_is_written_wrongly_is_named(copy: Path) -> None:
    append(copy / "gpucert" / "verdict" / "limits.toml", LIMITS.replace("at_most", "at_mots"))
    done = subprocess.run(
        [sys.executable, "-c", "from gpucert.verdict import rules; rules.shipped()"],
        env=os.environ | {"PYTHONPATH": str(copy)},
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "limits.toml" in done.stderr
    assert "at_mots" in done.stderr
