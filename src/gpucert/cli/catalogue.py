"""`gpucert catalogue`: the models that gpucert knows, what it knows of each, and whether that can be true."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import ProblemError, printable

if TYPE_CHECKING:
    from gpucert.catalogue.model import Model


@click.group(short_help="List, show and check the GPU models that gpucert knows.")
def command() -> None:
    """List, show and check the GPU models that gpucert knows.

    \b
    Example:
      gpucert catalogue show "NVIDIA A100-SXM4-80GB"
    """


@command.command("list")
@click.argument("words", nargs=-1)
def list_models(words: tuple[str, ...]) -> None:
    """List the models, or those whose name, chip or architecture holds all WORDS.

    \b
    Example:
      gpucert catalogue list ampere 80gb
    """
    from gpucert.catalogue import shelf

    found = [model for model in shelf.every() if all(word.lower() in _searched(model) for word in words)]
    if not found:
        raise ProblemError(f"no model holds {' '.join(words)!r}; `gpucert catalogue list` shows all of them")
    width = max(len(model.key) for model in found)
    for model in found:
        memory = f"{model.memory.size_gib:>4} GiB {model.memory.type:<6}"
        click.echo(f"{model.key:<{width}}  {model.chip:<6} {memory} {model.memory.peak_gb_s:>6.0f} GB/s")


def _searched(model: "Model") -> str:
    return f"{model.key} {model.chip} {model.architecture} {model.form_factor}".lower()


@command.command("show")
@click.argument("model")
def show(model: str) -> None:
    """Show every fact of a MODEL with its unit and sources; a dash is a fact that no source has.

    \b
    Example:
      gpucert catalogue show "Tesla T4"
    """
    from gpucert.catalogue import shelf

    try:
        found = shelf.get(model)
    except shelf.UnknownModelError as error:
        raise ProblemError(f"{error}; `gpucert catalogue list` shows all of them") from error
    for line in _facts(found):
        click.echo(line)


def _facts(model: "Model") -> Iterator[str]:
    from gpucert.catalogue import sources

    yield f"{model.key} ({model.chip}, {model.architecture}, compute capability {model.compute_capability})"
    yield f"  answers to {', '.join(model.names)}"
    yield f"  PCI ids    {', '.join(_id(pci) for pci in model.pci)}"
    yield f"  form       {model.form_factor}, {model.release_year}"
    yield f"  structure  {model.sm_count} SMs, {model.cuda_cores} cores, L2 {_number(model.l2_mib, 'MiB')}"
    for group in ("memory", "peak", "achieved", "power", "thermal", "links"):
        yield f"\n{group}  [{'; '.join(model.sources[group])}]"
        facts = getattr(model, group)
        yield from (
            f"  {name:<20} {_number(getattr(facts, name), _unit(group, name))}" for name in facts.__struct_fields__
        )
    memory = model.memory
    exact = memory.clock_mhz * memory.bytes_per_clock / 1000
    yield f"\n  peak_gb_s as 2 × {memory.clock_mhz:.0f} MHz × {memory.bus_bits} bit / 8 = {exact:.0f} GB/s"
    if model.notes:
        yield f"  {model.notes}"
    yield "\nsources"
    used = {sources.code(text) for texts in model.sources.values() for text in texts}
    for code, source in sources.explained().items():
        if code in used:
            yield f"  {code:<12} {' '.join(source.what.partition('. ')[0].split())} ({source.trust} trust)"


_UNITS = {
    "_gib": "GiB", "_mib": "MiB", "_mhz": "MHz", "_gb_s": "GB/s", "_c_per_w": "°C/W", "_w": "W", "_c": "°C",
    "_bits": "bit",
}  # fmt: skip


def _unit(group: str, name: str) -> str:
    """From the ending of the name; rates of arithmetic bear theirs in the name of the group."""
    by_ending = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    return by_ending or {"peak": "TOP/s" if name == "int8" else "TFLOP/s", "achieved": "of the peak"}.get(group, "")


def _id(pci: object) -> str:
    parts = (getattr(pci, name) for name in ("device", "subvendor", "subdevice"))
    return ":".join(part for part in parts if part is not None)


def _number(value: object, unit: str = "") -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g} {unit}".rstrip() if isinstance(value, int | float) else str(value)


@command.command("lint")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE…]")
@click.pass_context
def lint(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Check formulas, units, bounds, sources and duplicates of all models, and of FILE beside them.

    FILE is a model of your own as TOML; one with a key of the catalogue is checked in its place. Exit code 0 when
    nothing is wrong, 2 when something is.

    \b
    Example:
      gpucert catalogue lint
      gpucert catalogue lint my-model.toml
    """
    from gpucert.catalogue import shelf
    from gpucert.catalogue.lint import lint as check

    models = {model.key: model for model in shelf.every()}
    own = [_read(file) for file in files]
    twice = [model.key for number, model in enumerate(own) if model.key in {one.key for one in own[:number]}]
    if twice:
        raise ProblemError(f"two of the files have the key {twice[0]!r}; a key is of one model")
    models |= {model.key: model for model in own}
    defects = check(models.values())
    for defect in defects:
        click.echo(printable(str(defect)))
    if defects:
        count = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
        click.echo(f"gpucert: {count} in {len(models)} models", err=True)
        ctx.exit(2)
    click.echo(f"{len(models)} models, nothing wrong")


def _read(file: Path) -> "Model":
    from gpucert.catalogue import shelf

    try:
        return shelf.parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"{file}: {getattr(error, 'strerror', None) or 'not a text file'}") from error
    except shelf.CatalogueError as error:
        raise ProblemError(str(error)) from error
