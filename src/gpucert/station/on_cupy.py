"""Remarks on CuPy, on the CUDA libraries that it finds, and on the Python binding of NVML."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePath
from typing import Final

from gpucert.reading import Absent
from gpucert.record import Identity
from gpucert.station import support
from gpucert.station.driver import architectures
from gpucert.station.facts import Package, Packages, Station
from gpucert.station.on_driver import driver_version
from gpucert.station.remark import Remark, State
from gpucert.station.support import Extra

LIBRARIES: Final = "CuPy and libraries"
OLDEST_CUPY: Final = (14,)
"""As the extras demand; tests/test_doctor.py compares."""
OLDEST_BINDING: Final = (12, 575)
"""As pyproject.toml demands of nvidia-ml-py; tests/test_doctor.py compares."""
_remark = partial(Remark, topic=LIBRARIES)
_OLD_COPY = "__init__.py"
"""`pynvml` up to 11.5 is a copy of the binding in a folder, which Python takes before a file of the same name."""


def remarks(station: Station) -> Iterator[Remark]:
    """What stands between Python and the card."""
    packages = station.packages
    if isinstance(packages, Absent):
        found = f"what is installed could not be read: {packages.detail}"
        yield _remark(name="cupy", state=State.UNKNOWN, found=found, remedy="Run gpucert doctor again.", decides=True)
    else:
        yield from _cupy(station, packages.cupy)
        yield from _bindings(packages)


def extra(station: Station) -> Extra:
    """The extra that serves every card of this station under its driver."""
    sight = station.sight
    return support.extra_for(
        architectures(sight), pair(station.cuda.parts.get("cuda", "")), support.branch_of(driver_version(sight))
    )


def pair(text: str) -> tuple[int, int] | None:
    """A version as two numbers: "13.0" as (13, 0)."""
    match = re.match(r"(\d{1,6})\.(\d{1,6})", text)
    return (int(match[1]), int(match[2])) if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _install(wanted: Extra) -> str:
    return f"`pip install 'gpucert[{wanted}]'`; from a checkout `GPUCERT_EXTRA={wanted} ./scripts/gpucert doctor`."


def _names(builds: tuple[Package, ...]) -> str:
    return ", ".join(f"{one.name} {one.version}" for one in builds)


def _cupy(station: Station, builds: tuple[Package, ...]) -> Iterator[Remark]:
    tried, wanted = station.cupy, extra(station)
    if len(builds) > 1:
        yield _remark(
            name="cupy",
            state=State.PROBLEM,
            found=f"several builds of CuPy write over each other: {_names(builds)}",
            remedy=f"`pip uninstall -y {' '.join(one.name for one in builds)}`, then {_install(wanted)}",
        )
    elif "cupy" in tried.parts:
        yield from _build(station, builds, wanted)
        yield from _parts(station, wanted)
    elif not builds:
        yield _remark(name="cupy", state=State.PROBLEM, found="CuPy is not installed", remedy=_install(wanted))
    elif "cupy" in tried.troubles or "crashed" in tried.end:
        why = tried.troubles.get("cupy") or f"the import {tried.end}"
        yield _remark(
            name="cupy",
            state=State.PROBLEM,
            found=f"{_names(builds)} cannot be imported: {why}",
            remedy=f"`pip uninstall -y {builds[0].name}`, then {_install(wanted)}",
        )
    else:
        yield _remark(
            name="cupy",
            state=State.UNKNOWN,
            found=f"{_names(builds)} is installed; its import: {tried.end or 'no word'}",
            remedy="Run gpucert doctor again: a first import from a slow disk takes longer than later ones.",
            decides=True,
        )


def _build(station: Station, builds: tuple[Package, ...], wanted: Extra) -> Iterator[Remark]:
    """A CuPy that imports: whether it suits driver and cards."""
    version, built_for = station.cupy.parts["cupy"], station.cupy.parts.get("cuda", "")
    name = _names(builds) or f"CuPy {version}"
    cuda, offered = pair(built_for), pair(station.cuda.parts.get("cuda", ""))
    old = [one.name for one in architectures(station.sight) if one.needs_cuda_12 and one.supported]
    if "rocm" in name:
        yield _remark(name="cupy", state=State.PROBLEM, found=f"{name} is for AMD's cards", remedy=_install(wanted))
    elif cuda is not None and offered is not None and cuda[0] > offered[0]:
        yield _remark(
            name="cupy",
            state=State.PROBLEM,
            found=f"{name} is built for CUDA {built_for}, and the driver supports CUDA {station.cuda.parts['cuda']}",
            remedy=f"`pip uninstall -y {builds[0].name if builds else 'cupy'}`, then {_install(wanted)}",
        )
    elif cuda is not None and cuda[0] >= 13 and old:
        yield _remark(
            name="cupy",
            state=State.PROBLEM,
            found=f"{name} is built for CUDA {built_for}, which compiles nothing for {' and '.join(old)}",
            remedy=f"`pip uninstall -y {builds[0].name if builds else 'cupy'}`, then {_install('cuda12')}",
        )
    elif _numbers(version) < OLDEST_CUPY:
        yield _remark(
            name="cupy",
            state=State.WARNING,
            found=f"{name} is older than what gpucert is made for ({OLDEST_CUPY[0]} and newer)",
            remedy=_install(wanted),
        )
    elif not builds or builds[0].name == "cupy":
        yield _remark(
            name="cupy",
            state=State.WARNING,
            found=f"{name} was built on this station for CUDA {built_for or 'unknown'}, not taken from a wheel",
            remedy=f"If a run fails: `pip uninstall -y cupy`, then {_install(wanted)}",
        )
    else:
        yield _remark(name="cupy", state=State.OK, found=f"{name}, built for CUDA {built_for or 'unknown'}")


def _parts(station: Station, wanted: Extra) -> Iterator[Remark]:
    """The libraries that CuPy loads when it is first used."""
    tried = station.cupy
    broken = {name: said for name, said in tried.troubles.items() if name != "cuda"}
    if broken:
        words = {"nvrtc": "NVRTC", "architectures": "NVRTC", "compilation": "compiling a kernel", "cublas": "cuBLAS"}
        major = (pair(tried.parts.get("cuda", "")) or (int(wanted.removeprefix("cuda")), 0))[0]
        yield _remark(
            name="cuda_libraries",
            state=State.PROBLEM,
            found="; ".join(f"{words.get(name, name)}: {said}" for name, said in broken.items()),
            remedy=f"`pip install 'cuda-toolkit[cublas,cudart,nvrtc]=={major}.*'` (the extra cuda{major} brings them).",
        )
        return
    if tried.end:
        yield _remark(
            name="cuda_libraries",
            state=State.PROBLEM if "crashed" in tried.end else State.UNKNOWN,
            found=f"CuPy imports; trying NVRTC and cuBLAS: {tried.end}",
            remedy=f"`pip install --force-reinstall 'gpucert[{wanted}]'`.",
            decides=True,
        )
        return
    offered = set(tried.parts.get("architectures", "").split())
    missing = [card for card in station.sight.listed if offered and not _served(card, offered)]
    for card in missing:
        yield _remark(
            name="cuda_libraries",
            state=State.PROBLEM,
            found=f"NVRTC {tried.parts['nvrtc']} compiles nothing for compute capability {card.compute_capability}",
            remedy=f"`pip install --upgrade 'gpucert[{wanted}]'`.",
            card=card.card_id,
        )
    if not missing:
        found = f"NVRTC {tried.parts.get('nvrtc')} and cuBLAS load; a kernel was compiled, nothing was run on a card"
        yield _remark(name="cuda_libraries", state=State.OK, found=found)


def _served(card: Identity, offered: set[str]) -> bool:
    """A card that does not tell its compute capability may be served: it has a remark of its own."""
    told = card.compute_capability
    return not isinstance(told, str) or told.replace(".", "") in offered


def _bindings(packages: Packages) -> Iterator[Remark]:
    versions = {one.name: one.version for one in packages.bindings}
    ours, other = versions.get("nvidia-ml-py"), versions.get("pynvml")
    file = packages.binding_file
    again = "`pip uninstall -y pynvml`, then `pip install --force-reinstall nvidia-ml-py`."
    if ours is None:
        yield _remark(
            name="nvidia-ml-py",
            state=State.PROBLEM,
            found="the binding of NVML is not installed" + (f"; {file} is not it" if file else ""),
            remedy="`pip install nvidia-ml-py`." if other is None else again,
        )
    elif PurePath(file).name == _OLD_COPY:
        yield _remark(
            name="nvidia-ml-py",
            state=State.PROBLEM,
            found=f"an old copy of the binding is imported in its place: {file} (pynvml {other or 'unknown'})",
            remedy=again,
        )
    elif _numbers(ours) < OLDEST_BINDING:
        oldest = ".".join(map(str, OLDEST_BINDING))
        yield _remark(
            name="nvidia-ml-py",
            state=State.PROBLEM,
            found=f"nvidia-ml-py {ours} is older than {oldest} and lacks calls that a certificate needs",
            remedy="`pip install --upgrade nvidia-ml-py`.",
        )
    else:
        yield _remark(name="nvidia-ml-py", state=State.OK, found=ours)
    if ours is not None and other is not None and PurePath(file).name != _OLD_COPY:
        yield _remark(
            name="pynvml",
            state=State.WARNING,
            found=f"the deprecated package pynvml {other} is installed beside nvidia-ml-py; {PurePath(file).name} wins",
            remedy=again,
        )
