"""The Python packages that decide what a run uses, from their metadata: none of them is imported."""

import importlib.metadata
import re
from collections.abc import Iterable
from importlib.machinery import PathFinder
from typing import Final

from gpucert.station.facts import Package, Packages

BINDINGS: Final = ("nvidia-ml-py", "pynvml")
_CUPY = re.compile(r"cupy(?:-cuda\d+x?|-rocm-[\w-]+)?")


def installed(distributions: Iterable[importlib.metadata.Distribution] | None = None) -> Packages:
    """Every build of CuPy and both bindings of NVML, as far as this Python's environment has them."""
    found: dict[str, Package] = {}
    for one in importlib.metadata.distributions() if distributions is None else distributions:
        name = _name(one)
        if name not in found:  # because the first in the search path is the one that is imported
            found[name] = Package(name, one.version or "")
    return Packages(
        cupy=tuple(found[name] for name in sorted(found) if _CUPY.fullmatch(name)),
        bindings=tuple(found[name] for name in BINDINGS if name in found),
        binding_file=_origin("pynvml"),
    )


def _name(one: importlib.metadata.Distribution) -> str:
    """Normalised as package indexes do; broken metadata may have no name."""
    return re.sub(r"[-_.]+", "-", one.metadata["Name"] or "").lower()


def _origin(module: str) -> str:
    """Asked of the search path alone, because `pynvml` 13 puts a finder of its own before it, which only complains."""
    try:
        spec = PathFinder.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return (spec.origin or "") if spec else ""
