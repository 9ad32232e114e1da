"""`gpucert inspect`: what cards say of themselves, live or in what a seller sends; nothing is loaded or certified."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpucert.cli.captures import Gathered
    from gpucert.cli.look import Looks


@click.command(short_help="Read what cards say of themselves, live or from files, without load.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE…]")
@click.option("--gpu", metavar="CARDS", help="Cards of this station: index, UUID or bus id; several with commas.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page of what this proves and what it does not, as one HTML file.",
)
@click.pass_context
def command(
    ctx: click.Context, files: tuple[Path, ...], *, gpu: str | None, as_json: bool, report: Path | None
) -> None:
    """Read what cards say of themselves, and say what speaks against them. Nothing is loaded, nothing is certified.

    FILE is what a seller sends: the output of `nvidia-smi -q` or `nvidia-smi -q -x`, for one card or many, an
    nvidia-bug-report.log.gz, a kernel log (dmesg, journalctl, syslog), or the output of `nvidia-smi nvlink -s`;
    - reads standard input. Several files of one card are joined. Without FILE, the cards of this station are read.

    Exit code 10 when nothing was found, 20 when something was, 2 for a file that cannot be read, 30 without a driver.

    \b
    Example:
      nvidia-smi -q > card.txt; sudo dmesg > log.txt; gpucert inspect card.txt log.txt
      gpucert inspect --report card.html card.txt
      nvidia-smi -q | gpucert inspect -
      gpucert inspect --gpu 0
    """
    from gpucert.cli import captures
    from gpucert.cli.console import ProblemError, printable
    from gpucert.cli.look import look_at

    if files and gpu is not None:
        raise ProblemError("--gpu names a card of this station: leave out the files, or --gpu")
    if report is not None and any(_is_same(report, file) for file in files):
        raise ProblemError(f"{report}: is one of the files to read; name another file for the report")
    gathered = captures.from_files(files) if files else captures.from_station(gpu)
    looks = look_at(gathered.captures, tuple(gathered.unreadable), live=not files)
    for line in gathered.unreadable:
        click.echo(f"gpucert: {printable(line)}", err=True)
    if report is not None and looks.cards:
        _write(report, looks, gathered)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(looks)).decode())
    elif looks.cards:
        from gpucert.cli.inspect_text import show

        show(looks.cards)
    ctx.exit(looks.exit_code)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are of one file: evidence must not be overwritten by a report of it."""
    try:
        return one.samefile(other)
    except OSError:  # because one of them is not there, or cannot be seen
        return False


def _write(path: Path, looks: "Looks", gathered: "Gathered") -> None:
    from gpucert import installed_version
    from gpucert.certificate import inspection
    from gpucert.certificate.templates import PageTooLargeError
    from gpucert.cli import jobs
    from gpucert.cli.console import ProblemError, printable

    try:
        page = inspection.render(
            looks.cards, gathered.sources, looks.unreadable, made_at=jobs.now(), version=installed_version()
        )
    except PageTooLargeError as error:
        raise ProblemError(f"{path}: {error}; give fewer files at once") from error
    jobs.write(path, page.encode())
    click.echo(f"gpucert: report in {printable(str(path))}", err=True)
