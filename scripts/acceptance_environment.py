"""Makes the environment of an acceptance: gpucert from a checkout, a wheel or this Python, with the CuPy that fits.

Standard library only. Packages that this Python has are used as they are; what is missing comes from a folder of
wheels, else from the package index. The environment is a folder of its own, so that this Python is left alone.
"""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CALL_S = 240.0
"""One step of making the environment: enough for gigabytes of packages over a good network."""
TESTS_NEED = ("pytest>=8",)
EDITABLE_NEEDS = ("setuptools>=77",)
MAY_BE_MISSING = {"matplotlib": "no page", "scipy": "neither verdict nor page"}
"""The two largest packages and what cannot be made without them; all that is measured needs neither."""


class StationError(RuntimeError):
    """This machine cannot be used for an acceptance; the text says why and what to do."""


@dataclass(frozen=True)
class Source:
    """Where gpucert comes from. `path` is a checkout or a wheel; None means that this Python has it installed."""

    path: Path | None
    needs: tuple[str, ...]
    """What it requires, as its metadata has it: `cupy-cuda13x>=14; extra == "cuda13"`."""

    def requirements(self, extra: str) -> list[str]:
        """What must be installed beside it, with the CuPy of one extra, or with none."""
        own = EDITABLE_NEEDS if self.path is not None and self.path.is_dir() else ()
        return [*_of_extra(self.needs, extra), *own, *TESTS_NEED]


def _of_extra(needs: Iterable[str], extra: str) -> list[str]:
    """The requirements without an extra, and those of this one."""
    found = []
    for need in needs:
        requirement, _, marker = need.partition(";")
        named = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", marker)
        if named is None:
            found.append(need)
        elif named[1] == extra:
            found.append(requirement.strip())
    return found


def find_source(root: Path, wheels: Path) -> Source:
    """A checkout where `root` is one, else gpucert's wheel, else what this Python has. Raises StationError."""
    if (root / "pyproject.toml").is_file():
        return Source(root, _needs_of_checkout(root))
    carried = sorted(wheels.glob("gpucert-*.whl"))
    if len(carried) > 1:
        raise StationError(f"{wheels} holds {len(carried)} wheels of gpucert: leave one there")
    if carried:
        return Source(carried[0], _needs_of_wheel(carried[0]))
    try:
        return Source(None, tuple(importlib.metadata.requires("gpucert") or ()))
    except importlib.metadata.PackageNotFoundError:
        raise StationError(
            f"gpucert is not here: {root} is no checkout, {wheels} holds no gpucert-*.whl, "
            f"and {sys.executable} has none installed"
        ) from None


def _needs_of_checkout(root: Path) -> tuple[str, ...]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return (
        *project["dependencies"],
        *(f'{need}; extra == "{extra}"' for extra, needs in extras.items() for need in needs),
    )


def _needs_of_wheel(wheel: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(wheel) as packed:
            name = next(one for one in packed.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one))
            metadata = packed.read(name).decode("utf-8")
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise StationError(f"{wheel} is no wheel that can be read ({error or 'no METADATA'}): copy it again") from error
    return tuple(re.findall(r"^Requires-Dist: (.+?)\s*$", metadata.partition("\n\n")[0], re.MULTILINE))


@dataclass(frozen=True)
class Made:
    """An environment: what went wrong with it, or what it does without."""

    problem: str = ""
    note: str = ""


WHICH_CUPY = (
    "import cupy; from cupy.cuda import nvrtc, runtime; nvrtc.getVersion();"
    "from cupy_backends.cuda.libs import cublas; cublas.getVersion;"
    "print(runtime.runtimeGetVersion() // 1000)"
)


def cupy_of(python: str) -> str:
    """The extra that a Python's CuPy amounts to, empty where there is none that can compile."""
    done = subprocess.run([python, "-c", WHICH_CUPY], capture_output=True, text=True, timeout=120, check=False)
    return f"cuda{done.stdout.strip()}" if done.returncode == 0 else ""


def python_of(environment: Path) -> str:
    """The Python of an environment."""
    return str(environment / "bin" / "python")


def make_environment(environment: Path, source: Source, extra: str, wheels: Path, log: Path) -> Made:
    """An environment with gpucert and the CuPy of `extra` over the packages of this Python.

    Raises OSError and subprocess.SubprocessError.
    """
    try:
        import venv
    except ImportError:
        return Made("Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv)")
    own = cupy_of(sys.executable)
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(environment)
    python = python_of(environment)
    inherits = own in ("", extra)  # because two builds of CuPy in one environment disturb each other
    if inherits:
        inherit(python, cuda=own == extra)
    elif source.path is None:
        return Made(
            f"this Python has gpucert beside CuPy of {own}, and the card needs {extra}: "
            f"put the wheels of gpucert and of {extra} into {wheels}"
        )
    with log.open("ab") as out:
        pip = pip_of(python, wheels, out)
        if not pip:
            return Made(
                "this Python has neither pip nor ensurepip: install python3-pip or python3-venv, "
                f"or put pip's wheel into {wheels}"
            )
        installer = Installer([*pip, "install", "--disable-pip-version-check", "--no-compile", "--quiet"], wheels, out)
        if not installer.packages(source.requirements("" if own == extra else extra)):
            return Made(f"packages are missing and no index answers: put their wheels into {wheels} (see {log.name})")
        if source.path is not None and not installer.project(source.path):
            return Made(f"gpucert cannot be installed (see {log.name})")
    if cupy_of(python) != extra:
        return Made(f"CuPy of {extra} cannot be imported (see {log.name})")
    return Made(note=", ".join(f"without {name}: {lost}" for name, lost in missing(python).items()))


def missing(python: str) -> dict[str, str]:
    """Which of the packages that may be missing are, and what is lost with them."""
    ask = "import importlib.util as u, sys; print(*[one for one in sys.argv[1:] if u.find_spec(one) is None])"
    done = subprocess.run([python, "-c", ask, *MAY_BE_MISSING], capture_output=True, text=True, check=True)
    return {name: MAY_BE_MISSING[name] for name in done.stdout.split()}


def inherit(python: str, *, cuda: bool) -> None:
    """Let the environment see the packages of this Python, also where this Python is an environment itself.

    `cuda` links its CUDA libraries too, because CuPy looks for them beside the environment's own packages only.
    """
    folders = [Path(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (own / "inherited.pth").write_text("".join(f"{folder}\n" for folder in folders), encoding="utf-8")
    libraries = next((folder / "nvidia" for folder in folders if (folder / "nvidia").is_dir()), None)
    if cuda and libraries:
        (own / "nvidia").symlink_to(libraries)


def pip_of(python: str, wheels: Path, out: IO[bytes]) -> list[str]:
    """How pip is called there: the inherited one, Python's own, or a wheel of it, which runs as it is."""
    module = [python, "-m", "pip"]
    if not call([*module, "--version"], out) or not call([python, "-m", "ensurepip"], out):
        return module
    for wheel in sorted(wheels.glob("pip-*.whl"), reverse=True):
        packed = [python, str(wheel / "pip")]
        if not call([*packed, "--version"], out):
            return packed
    return []


@dataclass(frozen=True)
class Installer:
    """pip in one environment, with a folder of wheels at hand."""

    install: list[str]
    wheels: Path
    out: IO[bytes]

    def packages(self, wanted: list[str]) -> bool:
        """Install from the wheels alone, else with the index, else from the wheels without what may be missing."""
        here = ["--find-links", str(self.wheels)] if self.wheels.is_dir() else []
        online = ["--retries", "1", "--timeout", "15", *here]
        fewer = (_without(wanted, lost) for lost in ({"matplotlib"}, {"scipy"}, set(MAY_BE_MISSING)))
        ways = (["--no-index", *here, *wanted], [*online, *wanted], *(["--no-index", *here, *some] for some in fewer))
        return any(call([*self.install, *way], self.out) == 0 for way in ways)

    def project(self, path: Path) -> bool:
        """Install gpucert itself: a checkout linked, a wheel copied, also where this Python has the same version."""
        linked = ["--no-build-isolation", "--config-settings", "editable_mode=strict", "--editable"]
        how = linked if path.is_dir() else ["--force-reinstall"]
        return call([*self.install, "--no-index", "--no-deps", *how, str(path)], self.out) == 0


def _without(wanted: list[str], lost: set[str]) -> list[str]:
    return [one for one in wanted if re.split(r"[^\w.-]", one)[0] not in lost]


def call(command: list[str], out: IO[bytes]) -> int:
    """Run one command of the making; its exit code."""
    return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False, timeout=CALL_S).returncode
