"""Which cards a run is about: with --all, those of the station that no driver shows are told and never left out."""

from pathlib import Path

import pytest

from gpucert.cli.targets import Unreachable, Wanted, requests
from gpucert.device import apart
from gpucert.run.request import RunRequest
from gpucert.station import gather
from tests import stations, sysfs


def wanted(folder: Path, **asked: object) -> Wanted:
    nothing: dict[str, object] = {
        "simulate": None, "gpu": None, "every": False, "plan": "quick", "hours": None, "out": folder, "seed": None,
        "inlet_c": None,
    }  # fmt: skip
    return Wanted(**(nothing | asked))  # type: ignore[arg-type]


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A station with an A100 that the driver shows and a card that fell off the bus."""
    root = stations.root(tmp_path / "root")
    sysfs.device(root / "sys", "0000:65:00.0")
    sysfs.device(root / "sys", "0000:b3:00.0", fallen=True)
    monkeypatch.setattr(apart, "list_gpus", lambda: (stations.identity(),))
    sight = stations.sight(root, listed=(stations.identity(),))
    monkeypatch.setattr(gather, "sight", lambda *_, **__: sight)
    return tmp_path


def test_all_tells_of_a_card_that_no_driver_shows(station: Path) -> None:
    seen, unseen = requests(wanted(station, every=True))
    assert isinstance(seen, RunRequest)
    assert isinstance(unseen, Unreachable)
    assert "00000000:b3:00.0" in unseen.why
    assert "fell off the bus" in unseen.why
    assert unseen.folder.name == "unseen-00000000-b3-00.0"


def test_one_card_is_tested_without_the_others(station: Path) -> None:
    assert [type(one) for one in requests(wanted(station, gpu="0"))] == [RunRequest]
