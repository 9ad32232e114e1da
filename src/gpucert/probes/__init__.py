"""One diagnostic per file; the files of this folder are the list of probes."""

import importlib
import pkgutil
from collections.abc import Iterator

from gpucert.probes.bench import Probe


class UnknownProbeError(LookupError):
    """No file in this folder declares a probe of this name."""


def names() -> tuple[str, ...]:
    """The name of every probe, sorted: every module here but the bench."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "bench"))


def load(name: str) -> Probe:
    """The probe of this name. Raises UnknownProbeError."""
    if name not in names():
        raise UnknownProbeError(f"no probe is called {name!r}; there are {', '.join(names())}")
    probe = importlib.import_module(f"{__name__}.{name}").PROBE
    assert isinstance(probe, Probe)
    assert probe.name == name, f"probes/{name}.py declares a probe called {probe.name!r}"
    return probe


def every() -> Iterator[Probe]:
    """All probes, sorted by name."""
    return (load(name) for name in names())
