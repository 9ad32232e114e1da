"""Running one card from the command line: progress on the terminal, the ledger told, and every refusal in one line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from gpucert.cli import jobs
from gpucert.cli.console import ProblemError
from gpucert.cli.jobs import CardFolder
from gpucert.cli.progress import LiveProgress
from gpucert.cli.rules import RuleFiles
from gpucert.cli.targets import Unreachable, Wanted, requests
from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.outcome import ExitCode
from gpucert.record import Record
from gpucert.run import journal, locks, supervisor
from gpucert.run.progress import Progress
from gpucert.run.request import RequestError, RunRequest
from gpucert.store.ledger import Ledger

_BAD_INPUT = (
    RequestError,
    journal.FolderInUseError,
    journal.JournalError,
    supervisor.ResumeRefusedError,
    supervisor.RepeatRefusedError,
)
_STATION = (
    NoDriverError,
    NoSuchGpuError,
    supervisor.CardRefusedError,
    supervisor.RunStoppedError,
    journal.DiskError,
    locks.BusyError,
    locks.LockFolderError,
)


NO_FILES = RuleFiles()


@dataclass(frozen=True)
class Job:
    """One card's run, new or to be gone on with."""

    folder: CardFolder
    start: Callable[[Progress], Record]

    def measure(self, ledger: Ledger, files: RuleFiles = NO_FILES) -> Record:
        """Run the plan; rules of someone's own are kept with it from the start. Raises ProblemError."""
        return self._watched(self.start, ledger, files, again=False)

    def measure_again(self, steps: tuple[int, ...], ledger: Ledger) -> Record:
        """Repeat these steps. Raises ProblemError."""
        return self._watched(partial(supervisor.repeat, self.folder.path, steps), ledger, NO_FILES, again=True)

    def _watched(self, run: Callable[[Progress], Record], ledger: Ledger, files: RuleFiles, *, again: bool) -> Record:
        def began() -> None:
            jobs.keep_rules(self.folder, files)
            jobs.began(ledger, self.folder)

        with _refusals_in_one_line(), LiveProgress(began, again=again) as progress:
            return run(progress)


def new(wanted: Wanted) -> list[Job]:
    """A job for each card that was asked for. Raises ProblemError."""
    return [_new(request) for request in requests(wanted)]


def _new(request: RunRequest | Unreachable) -> Job:
    if isinstance(request, Unreachable):
        return Job(CardFolder(request.folder), lambda _progress: _refuse(request.why))
    return Job(CardFolder(request.folder), lambda progress: supervisor.run_card(request, progress))


def _refuse(why: str) -> NoReturn:
    raise ProblemError(why, ExitCode.INCOMPLETE)


def resumed(folder: Path) -> list[Job]:
    """A job for the card, or for every card of the run, whose journals lie in this folder. Raises ProblemError."""
    own = folder / journal.NAME
    found = [own] if own.is_file() else sorted(folder.glob(f"*/{journal.NAME}"))
    if not found:
        raise ProblemError(f"{folder}: no {journal.NAME} here, so there is no run to go on with")
    return [_resumed(path.parent) for path in found]


def _resumed(folder: Path) -> Job:
    return Job(CardFolder(folder), lambda progress: supervisor.resume(folder, progress))


@contextmanager
def _refusals_in_one_line() -> Iterator[None]:
    try:
        yield
    except _BAD_INPUT as error:
        raise ProblemError(str(error)) from error
    except _STATION as error:
        raise ProblemError(str(error), ExitCode.INCOMPLETE) from error
    except supervisor.RunInterruptedError as error:
        raise ProblemError(str(error), ExitCode.INTERRUPTED) from error
