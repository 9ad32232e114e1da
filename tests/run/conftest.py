"""Every test of the run finds the toy rig, its processes too, and locks cards in a folder of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toys"


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.setenv("PYTHONPATH", str(TOYS))
    monkeypatch.setenv("GPUCERT_LOCK_DIR", str(tmp_path / "locks"))
    yield
    sys.modules.pop("toy_rig", None)
