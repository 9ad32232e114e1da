"""Gathering the facts of a station: everything at once, with one time limit for all of it.

What can hang (the driver, CuPy, a network folder) is asked in threads that nobody has to wait for, and whose children
end by themselves.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final, Generic, TypeVar

from msgspec import structs

from gpucert.capture import Capture
from gpucert.device import apart, kernel_file, kernel_log, pci_bus
from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.device.kernel_log import LoggedCard
from gpucert.device.pci_bus import Bus, PciGpu
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Identity
from gpucert.station import host, log, packages, places, trial
from gpucert.station.facts import Sight, Station, Tried
from gpucert.station.host import ROOT
from gpucert.station.places import Wanted

LIMIT_S: Final = 3.8
"""For everything together, on a station that is not busy."""
_PROMISED_S = 4.2
"""When everything is gathered after a command was started; what is left of five seconds is for telling it."""
_LEAST_S = 1.2
_MARGIN_S = 0.4
"""So much earlier do the children's own limits end, so that none is left behind that could be killed."""
_BUS_S = 0.8
"""A bus that does not answer by then is hung itself; it normally takes milliseconds."""
_LOG_S = 1.5

T = TypeVar("T")
_Environment = Mapping[str, str]


class _Errand(Generic[T]):
    """Something that may take long, done in a thread that is left behind when time is up."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._done: list[T] = []
        self._failed: list[BaseException] = []
        self._do = do
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done.append(self._do())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._failed.append(error)

    def wait(self, ends: float) -> T | None:
        """What came of it, None where time was up. Raises what it raised."""
        self._thread.join(max(0.0, ends - time.monotonic()))
        if self._failed:
            raise self._failed[0]
        return self._done[0] if self._done else None


def time_left() -> float:
    """The limit for a command that is to end within five seconds of its start, as far as starting it took longer."""
    return min(LIMIT_S, max(_LEAST_S, _PROMISED_S - _age_s()))


def _age_s() -> float:
    """Seconds since this process was started (proc(5): starttime is the 22nd field), 0 where nobody knows."""
    told = kernel_file.text(Path("/proc/self/stat"))
    if isinstance(told, Absent):
        return 0.0
    words = told.rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")


def sight(
    environment: _Environment, of_a_run: _Environment, *, root: Path | None = None, limit_s: float = LIMIT_S
) -> Sight:
    """What of the station's cards can be seen, after `limit_s` at most.

    `of_a_run` is the environment that a run's processes get.
    """
    ends = time.monotonic() + limit_s
    asked = _Asked(of_a_run, limit_s - _MARGIN_S)
    return _sight(asked, _bus(root or ROOT), environment, of_a_run, root or ROOT, ends)


class _Asked:
    """NVML, asked for its cards, and whether its library loads."""

    def __init__(self, of_a_run: _Environment, limit_s: float) -> None:
        self.listing = _Errand(partial(_listed, limit_s))
        self.library = _Errand(partial(trial.attempt, "nvml", of_a_run, limit_s))
        self.limit_s = limit_s


def _bus(root: Path) -> Reading[Bus]:
    found = _Errand(partial(pci_bus.scan, root / "sys")).wait(time.monotonic() + _BUS_S)
    return Absent(Absence.UNKNOWN, f"the PCI bus did not answer within {_BUS_S} s") if found is None else found


def _sight(
    asked: _Asked,
    bus: Reading[Bus],
    environment: _Environment,
    of_a_run: _Environment,
    root: Path,
    ends: float,
) -> Sight:
    told = _Errand(partial(log.read, root, _LOG_S))
    module, nodes = host.module(root), host.nodes(root)
    lines = told.wait(min(ends, time.monotonic() + _LOG_S))
    listed = asked.listing.wait(ends)
    if listed is None:
        listed = f"the NVIDIA driver does not answer within {asked.limit_s:g} s"
    return Sight(
        bus=bus,
        listed=() if isinstance(listed, str) else listed,
        failure=listed if isinstance(listed, str) else "",
        nvml=_or_late(asked.library.wait(ends), asked.limit_s),
        module=module,
        nodes=nodes,
        container=host.container(root, environment),
        variables=host.variables(environment, of_a_run),
        log=Absent(Absence.UNKNOWN, "the kernel log did not come in time") if lines is None else lines,
    )


def _listed(limit_s: float) -> tuple[Identity, ...] | str:
    """What NVML counts, or why it counts nothing."""
    try:
        return apart.list_gpus(limit_s)
    except NoDriverError as error:
        return str(error)


def station(
    environment: _Environment,
    of_a_run: _Environment,
    wanted: Wanted,
    *,
    root: Path | None = None,
    limit_s: float = LIMIT_S,
) -> Station:
    """Everything that is known of this station, after `limit_s` at most."""
    root = root or ROOT
    ends = time.monotonic() + limit_s
    patience = limit_s - _MARGIN_S
    asked = _Asked(of_a_run, patience)
    tries = {what: _Errand(partial(trial.attempt, what, of_a_run, patience)) for what in ("cuda", "cupy")}
    metadata = _Errand(packages.installed)
    around = _Errand(partial(host.host, root))
    writing = _Errand(partial(places.places, wanted, of_a_run))
    ticking = _Errand(partial(places.clock, wanted.ledger))
    bus = _bus(root)
    looks = {gpu.bus_id: _Errand(partial(_look, gpu.bus_id, patience)) for gpu in _to_look_at(bus)}
    seen = _sight(asked, bus, environment, of_a_run, root, ends)
    left = max(0.1, ends - time.monotonic() - _MARGIN_S)
    looks |= {which: _Errand(partial(_look, which, left)) for which in _not_on_the_bus(seen, looks)}
    looked = {which: errand.wait(ends) for which, errand in looks.items()}
    late = f"it did not answer within {patience:g} s"
    return Station(
        sight=seen,
        captures=tuple(_with_log(looked.values(), seen)),
        silent={which: one or late for which, one in looked.items() if not isinstance(one, Capture)},
        cuda=_or_late(tries["cuda"].wait(ends), patience),
        cupy=_or_late(tries["cupy"].wait(ends), patience),
        packages=metadata.wait(ends) or _late("the metadata of Python's packages", limit_s),
        places=writing.wait(ends) or _late("a folder", limit_s),
        clock=ticking.wait(ends) or places.clock(None),
        host=around.wait(ends) or _late("the host", limit_s),
    )


def _late(who: str, limit_s: float) -> Absent:
    return Absent(Absence.UNKNOWN, f"{who} did not answer within {limit_s:g} s")


def _with_log(looked: Iterable[Capture | str | None], seen: Sight) -> Iterator[Capture]:
    """The captures, with what the kernel log says of the same cards since the station started."""
    logged = log.of_cards(seen.log)
    for capture in looked:
        if isinstance(capture, Capture):
            own = [one for one in logged if _is_of(one, capture.identity)]
            yield structs.replace(
                capture,
                log=kernel_log.merged(own),
                bus_errors=tuple(error for one in own for error in one.bus_errors),
                not_initialised=next((one.not_initialised for one in own if one.not_initialised), ""),
            )


def _is_of(one: LoggedCard, card: Identity) -> bool:
    """The card of this UUID; without one in the log, whatever stands in this place: it was not moved since."""
    return one.uuid == card.uuid if one.uuid is not None else one.bus_id == card.bus_id


def _or_late(tried: Tried | None, limit_s: float) -> Tried:
    return tried or Tried(end=f"no answer within {limit_s:.1f} s")


def _to_look_at(bus: Reading[Bus]) -> Iterable[PciGpu]:
    """Whole cards that NVIDIA's driver holds, as far as anybody knows."""
    if isinstance(bus, Absent):
        return ()
    return [gpu for gpu in bus.gpus if gpu.virtual_function_of is None and gpu.driver not in (None, *_OTHERS)]


_OTHERS = ("nouveau", "vfio-pci")


def _not_on_the_bus(seen: Sight, asked: Iterable[str]) -> list[str]:
    """UUIDs of cards that NVML lists and the bus does not show, as under Windows or without /sys."""
    known = set(asked)
    return [card.uuid for card in seen.listed if isinstance(card.uuid, str) and card.bus_id not in known]


def _look(which: str, limit_s: float) -> Capture | str:
    try:
        return apart.look(which, limit_s)
    except (NoDriverError, NoSuchGpuError) as error:
        return str(error)
