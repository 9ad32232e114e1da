"""The floors of the house: imports go down only, each library has one room, the packages ship the whole tree."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"src/gpucert": "gpucert", "stress": "gpucert.stress", "reports": "gpucert.reports"}

FLOORS: list[set[str]] = [
    {"gpucert", "gpucert.outcome", "gpucert.units", "gpucert.reading", "gpucert.diagnosis"},
    {"gpucert.catalogue"},
    {"gpucert.record"},
    {"gpucert.capture"},
    {"gpucert.device", "gpucert.stress"},
    {"gpucert.probes", "gpucert.baselines"},
    {"gpucert.run", "gpucert.verdict", "gpucert.station"},
    {"gpucert.certificate", "gpucert.store", "gpucert.reports", "gpucert.trials"},
    {"gpucert.cli"},
]
"""From the ground up. A room may import from lower floors and from itself, not from its neighbours."""

NEIGHBOURS_ALLOWED = {("gpucert.device", "gpucert.stress"), ("gpucert.certificate", "gpucert.reports")}
"""The virtual card's medium satisfies a Protocol of stress; the page is rendered from the templates."""

ONLY_IN = {
    "pynvml": {"src/gpucert/device/nvml.py"},
    "cupy": {"stress/"},
    "cupy_backends": {"stress/"},
    "click": {"src/gpucert/cli/"},
    "rich": {"src/gpucert/cli/"},
    "jinja2": {"src/gpucert/certificate/"},
    "matplotlib": {"src/gpucert/certificate/"},
    "sqlalchemy": {"src/gpucert/store/"},
    "alembic": {"src/gpucert/store/"},
}

VERDICT_MAY_NOT = {"os", "pathlib", "io", "time", "datetime", "socket", "subprocess", "shutil", "tempfile", "random"}


def modules() -> Iterator[tuple[str, Path]]:
    for folder, package in ROOMS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def imports(path: Path, module: str) -> Iterator[str]:
    """Every absolute name that a file imports, also inside functions; relative imports are not used in this house."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} uses a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str | None:
    """The longest room that a dotted name lies in; None outside of the house."""
    rooms = {one for floor in FLOORS for one in floor if one != "gpucert"}
    inside = [one for one in rooms if name == one or name.startswith(one + ".")]
    if inside:
        return max(inside, key=len)
    return "gpucert" if name.split(".")[0] == "gpucert" else None


def floor(room_name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if room_name in rooms)


def violations(module: str, names: Iterator[str]) -> list[str]:
    here = room(module)
    assert here is not None
    found = []
    for name in names:
        there = room(name)
        if there is None or there == here or (here, there) in NEIGHBOURS_ALLOWED:
            continue
        if floor(there) >= floor(here):
            found.append(f"{module} must not import {name}")
    return found


def test_every_room_stands_on_a_floor() -> None:
    rooms = {".".join(module.split(".")[:2]) for module, _ in modules()}
    listed = {one for level in FLOORS for one in level} | {"gpucert.__main__"}
    assert rooms <= listed, f"not on any floor: {rooms - listed}"


def test_imports_go_down_only() -> None:
    found = [
        problem
        for module, path in modules()
        if module != "gpucert.__main__"
        for problem in violations(module, imports(path, module))
    ]
    assert found == []


def test_the_floor_test_itself_can_fail() -> None:
    assert violations("gpucert.verdict.judge", iter(["gpucert.run.supervisor"])) != []
    assert violations("gpucert.probes.identity", iter(["gpucert.baselines.limit"])) != []


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_imported_in_its_room_only(library: str) -> None:
    outside = [
        str(path.relative_to(ROOT))
        for module, path in modules()
        if any(name.split(".")[0] == library for name in imports(path, module))
        and not any(str(path.relative_to(ROOT)).startswith(allowed) for allowed in ONLY_IN[library])
    ]
    assert outside == []


def test_the_judging_wing_sees_no_hardware_clock_or_files() -> None:
    for module, path in modules():
        if module.startswith("gpucert.verdict"):
            names = set(imports(path, module))
            tops = {name.split(".")[0] for name in names}
            assert not tops & VERDICT_MAY_NOT, f"{module} imports {tops & VERDICT_MAY_NOT}"
            assert not any(room(name) in {"gpucert.device", "gpucert.stress", "gpucert.probes"} for name in names)


def test_stress_imports_nothing_of_the_other_rooms() -> None:
    for module, path in modules():
        if module.startswith("gpucert.stress"):
            assert all(room(name) in {None, "gpucert.stress"} for name in imports(path, module)), module


def test_nobody_imports_stress_or_reports_as_top_level_names() -> None:
    """From the root of a checkout `import stress` works by accident; in an installed wheel it does not."""
    for module, path in modules():
        assert not {name.split(".")[0] for name in imports(path, module)} & {"stress", "reports", "tests"}, module


def test_the_listed_packages_are_those_of_the_tree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    listed = set(project["packages"])
    shipped = tuple(pattern.lstrip("*") for pattern in project["package-data"]["*"])
    present = set()
    for folder, package in ROOMS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.name.endswith((".py", *shipped)), f"{path} would not be shipped: see package-data"
                parts = path.parent.relative_to(ROOT / folder).parts
                present.add(".".join((package, *parts)))
    assert listed == present


def test_the_recipe_for_a_new_probe_is_true() -> None:
    """A new probe = its file, its limits, its test and a line in each plan: no other file imports a probe by name."""
    from gpucert import probes

    by_name = {f"gpucert.probes.{name}" for name in probes.names()}
    for module, path in modules():
        named = {
            name for name in imports(path, module) if any(name == one or name.startswith(one + ".") for one in by_name)
        }
        assert not named, f"{module} imports {named}"
    assert [probes.load(name).name for name in probes.names()] == list(probes.names())
