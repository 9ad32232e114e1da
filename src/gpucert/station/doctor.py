"""The doctor: all remarks on a station, from its facts alone."""

from gpucert.station import on_cards, on_cupy, on_driver, on_host
from gpucert.station.facts import Station
from gpucert.station.remark import Remark


def examine(station: Station) -> tuple[Remark, ...]:
    """Everything that stands between this station and a certificate, and everything that was found in order."""
    rooms = (on_driver, on_cards, on_cupy, on_host)
    return tuple(remark for room in rooms for remark in room.remarks(station))
