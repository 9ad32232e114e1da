"""The supervisor: plans, journals and keeps time for one card; it calls neither NVML nor CUDA, which can block.

Three doors: `run_card` makes a record, `resume` goes on where one was torn off, `repeat` runs undecided steps again.
"""

import contextlib
import hashlib
import os
import platform
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from msgspec import structs

from gpucert import installed_version
from gpucert import record as records
from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.outcome import StepStatus
from gpucert.reading import Absent
from gpucert.record import Counters, Death, Event, Identity, PlanRun, Record, Sample, Station, StepRecord, Trace
from gpucert.run import deaths, journal, link, locks, rig, telemetry, whole_file
from gpucert.run.attempt import Attempt, Deadline, Ending, Heard, Worker
from gpucert.run.interrupts import InterruptedBySignal, Interrupts
from gpucert.run.journal import (
    DiskError,
    Journal,
    Noticed,
    Resumed,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Stopped,
)
from gpucert.run.link import MonitorGoneError, MonitorLink, MonitorStuckError, RefusedError, TelemetryError
from gpucert.run.plan import Step
from gpucert.run.progress import Progress, Quiet
from gpucert.run.pulse import Pulse
from gpucert.run.request import RunRequest, step_seed, verify
from gpucert.run.wire import Attach, Attached, BeginStep, StepBegun, StepEnded, StepSpec

REPEATS = 3
"""How often one step may be repeated: more would be searching for the wanted answer."""
EVENTS_SYNCED = 64
"""Events of one step that wait for the disk: a storm of Xids must not hold up the supervisor."""
HOST_DEATHS = 2
"""How often the whole station may go down in one step before the step is given up."""


class RunInterruptedError(RuntimeError):
    """Someone ended the run; it can be resumed unless nothing had begun."""

    def __init__(self, folder: Path, *, begun: bool = True) -> None:
        how = f"continue with `gpucert certify --resume {folder}`" if begun else "nothing had been tested"
        super().__init__(f"interrupted; {how}")
        self.folder = folder


class RunStoppedError(RuntimeError):
    """The station, not the card, ended the run; it can be resumed."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{why}; continue with `gpucert certify --resume {folder}`")
        self.folder = folder


class CardRefusedError(RuntimeError):
    """The monitor could not take hold of the card, for a reason that is neither driver nor address."""


class ResumeRefusedError(ValueError):
    """The run cannot go on like this: another card, driver, plan, seed or version."""


class RepeatRefusedError(ValueError):
    """These steps cannot be repeated."""


@dataclass(frozen=True)
class Task:
    """One step to be run now."""

    index: int
    step: Step
    repeat_of: int | None = None


def run_card(request: RunRequest, progress: Progress | None = None, *, parts: str = rig.SHIPPED) -> Record:
    """Run a plan on a card and return the record, which also lies in the folder as record.json.

    Raises RequestError and its journal.FolderError, locks.BusyError, locks.LockFolderError, NoDriverError,
    NoSuchGpuError, CardRefusedError before anything was tested; RunInterruptedError, RunStoppedError and
    journal.DiskError after that, leaving a run that can be resumed.
    """
    verify(request)
    with _Run(Journal.create(request.folder), progress or Quiet(), parts) as run:
        attached = run.attach(Attach(gpu=request.gpu, scenario=request.scenario, source=request.source))
        run.write(first_entry(request, attached))
        return run.carry_out(_unfinished(run.journal))


def resume(
    folder: Path,
    progress: Progress | None = None,
    *,
    plan: PlanRun | None = None,
    seed: int | None = None,
    parts: str = rig.SHIPPED,
) -> Record:
    """Go on with the run in a card's folder; the step that was interrupted is repeated. A finished run is returned.

    `plan` and `seed` are what the caller asked for again, if anything: they must be those of the run. Raises
    ResumeRefusedError, journal.JournalError and what `run_card` raises.
    """
    with _Run(Journal.reopen(folder), progress or Quiet(), parts) as run:
        _refuse_another(run.start, plan, seed)
        if isinstance(run.journal.entries[-1], RunFinished):
            return run.publish()
        run.reattach()
        _give_up_a_deadly_step(run.journal)
        run.write(_resumed(run.journal))
        return run.carry_out(_unfinished(run.journal))


def repeat(
    folder: Path, indices: Iterable[int], progress: Progress | None = None, *, parts: str = rig.SHIPPED
) -> Record:
    """Run finished steps of a finished run again, each as a step of its own that names the one it repeats.

    Raises RepeatRefusedError when a step was repeated three times already (see `repeatable`) and what `resume` raises.
    """
    with _Run(Journal.reopen(folder), progress or Quiet(), parts) as run:
        _refuse_another(run.start, None, None)
        tasks = _repeats(run.journal, tuple(indices))
        run.reattach()
        return run.carry_out(tasks)


def repeatable(record: Record, indices: Iterable[int]) -> tuple[int, ...]:
    """Which of these steps may be repeated once more: as indices of the original steps, sorted."""
    known = {step.index: step for step in record.steps}
    roots = {_root(known[index]) for index in indices if index in known}
    times = {root: sum(step.repeat_of == root for step in record.steps) for root in roots}
    return () if stopped_by(record.steps) else tuple(sorted(root for root in roots if times[root] < REPEATS))


class _Run:
    """A journal that goes on, its monitor, and the counters and memory that they share."""

    def __init__(self, story: Journal, progress: Progress, parts: str) -> None:
        self.journal = story
        self._progress = progress
        self._parts = parts
        self._interrupts = Interrupts()
        self._tidy = contextlib.ExitStack()
        self._events: list[Event] = []
        self._held: tuple[int, ...] = (story.fd,)
        self._zero_s = 0.0

    @property
    def start(self) -> RunStarted:
        """The first entry."""
        first = self.journal.entries[0]
        assert isinstance(first, RunStarted)
        return first

    @property
    def folder(self) -> Path:
        """The card's folder."""
        return self.journal.path.parent

    def __enter__(self) -> Self:
        """Watch for signals; the card is attached separately."""
        self._tidy.callback(self.journal.close)
        self._tidy.callback(self.journal.discard)
        self._tidy.enter_context(self._interrupts)
        return self

    def __exit__(self, *_error: object) -> None:
        """End every process and let go of everything."""
        self._tidy.close()

    def write(self, entry: journal.AnyEntry) -> None:
        """Append to the journal."""
        self.journal.append(entry)

    def attach(self, request: Attach) -> Attached:
        """Start the monitor, let it take hold of the card, and lock the card."""
        monitor = self._start_monitor()
        try:
            attached = monitor.attach(request)
        except RefusedError as error:
            raise _refusal(error) from error
        except (MonitorGoneError, MonitorStuckError) as error:
            raise CardRefusedError(str(error)) from error
        except InterruptedBySignal:
            raise RunInterruptedError(self.folder, begun=bool(self.journal.entries)) from None
        if request.scenario is None:
            self._lock(attached.identity.card_id)
        self._zero_s = attached.zero_s
        return attached

    def reattach(self) -> None:
        """Take hold of the card that the run began with. Raises ResumeRefusedError for any other."""
        start = self.start
        virtual = start.simulated
        try:
            attached = self.attach(
                Attach(
                    gpu="" if virtual else _address(start.card),
                    scenario=start.scenario if virtual else None,
                    source=start.source,
                    clock_s=_clock_s(self.journal),
                )
            )
        except NoSuchGpuError as error:
            raise ResumeRefusedError(f"{self.folder}: the card of this run is not here: {error}") from error
        _refuse_another_card(self.folder, start.card, attached.identity)

    def carry_out(self, tasks: tuple[Task, ...]) -> Record:
        """Run tasks to the end of the plan, and publish the record."""
        self._progress.run_started(self.start.card, self.start.plan.steps)
        try:
            for task in tasks:
                self._carry_out(task)
        except InterruptedBySignal:
            self._stop("the run was interrupted", None)
            raise RunInterruptedError(self.folder) from None
        except MonitorGoneError as error:
            death = deaths.of_kind("killed").death("monitor")
            self._stop(str(error), death)
            raise RunStoppedError(self.folder, str(error)) from error
        except _StationEndedError as error:
            self._stop(str(error), error.death)
            raise RunStoppedError(self.folder, str(error)) from error
        except TelemetryError as error:
            raise DiskError(self.folder / telemetry.NAME, error.error) from error
        self.write(RunFinished(at=journal.now()))
        return self.publish()

    def publish(self) -> Record:
        """Fold the journal and write record.json, whole or not at all. Raises DiskError."""
        record = journal.fold(self.journal.entries)
        path = self.folder / "record.json"
        try:
            whole_file.write(path, records.encode(record))
        except OSError as error:
            raise DiskError(path, error) from error
        return record

    def _start_monitor(self) -> MonitorLink:
        pulse, memory = Pulse.create(), link.memory()
        rows = _open_telemetry(self.folder / telemetry.NAME)
        for fd in (pulse, memory, rows):
            self._tidy.callback(os.close, fd)
        self._pulse, self._pulse_fd, self._memory_fd = Pulse(pulse), pulse, memory
        self._tidy.callback(self._pulse.close)
        self._monitor = MonitorLink(
            self._parts, (pulse, memory, rows), self._held, self._interrupts, self._show, self._notice
        )
        self._tidy.callback(self._monitor.close)
        return self._monitor

    def _lock(self, card_id: str) -> None:
        lock = locks.lock_card(card_id)
        self._tidy.callback(os.close, lock)
        self._held = (*self._held, lock)
        self._monitor.hold(lock)

    def _show(self, sample: Sample) -> None:
        self._progress.sample(sample)

    def _notice(self, event: Event) -> None:
        self._events.append(event)
        self.journal.append(Noticed(at=journal.now(), event=event), sync=len(self._events) <= EVENTS_SYNCED)

    def _stop(self, why: str, death: Death | None) -> None:
        """Write down why the run ends here, and publish what there is; a full disk must not hide the first reason."""
        with contextlib.suppress(DiskError):
            self.write(Stopped(at=journal.now(), why=why, death=death))
            self.publish()

    def _carry_out(self, task: Task) -> None:
        self._interrupts.look()
        over = stopped_by(journal.fold(self.journal.entries).steps)
        if over:
            finished = journal.skipped(task.index, task.step, _clock_s(self.journal), over)
            self.write(StepFinished(at=journal.now(), step=finished, state=_state(self.journal)))
        else:
            finished = self._run_step(task)
        self._progress.step_finished(finished)

    def _run_step(self, task: Task) -> StepRecord:
        attempt_number = journal.attempts(self.journal.entries, task.index) + 1
        self._events = []
        worker = Worker(self._parts, self._pulse_fd, self._memory_fd, self._held)
        with contextlib.closing(worker):
            begun = self._begin(task, attempt_number, worker)
            self._progress.step_started(task.index, task.step)
            attempt = Attempt(
                step_spec(self.start, task, begun, self._zero_s),
                worker,
                self._monitor,
                self._pulse,
                self.journal,
                self._progress,
                self._interrupts,
                self._deadline(task, worker.child.process.pid),
            )
            ending = attempt.follow()
            printed = worker.child.printed()
        ended, ending = self._end(begun, ending)
        step = step_record(task, begun, ended, attempt.heard, self._explained(ending))
        self.write(
            StepFinished(
                at=journal.now(), step=step, state=ended.state, versions=attempt.heard.versions, stderr=printed
            )
        )
        return step

    def _begin(self, task: Task, attempt_number: int, worker: Worker) -> StepBegun:
        request = BeginStep(index=task.index, attempt=attempt_number, state=_state(self.journal))
        try:
            begun = self._monitor.begin(request, worker.card_line)
        except MonitorStuckError as error:
            raise _StationEndedError(deaths.of_kind("silence").death(str(error))) from error
        self.write(
            StepStarted(
                at=journal.now(),
                index=task.index,
                probe=task.step.probe,
                attempt=attempt_number,
                repeat_of=task.repeat_of,
                began_s=begun.began_s,
                before=begun.before,
            )
        )
        return begun

    def _end(self, begun: StepBegun, ending: Ending) -> tuple[StepEnded, Ending]:
        """Let the monitor end the step; a driver that no longer answers is a fact about a real card."""
        try:
            ended = self._monitor.end()
        except MonitorStuckError as error:
            rule = deaths.of_kind("silence" if self.start.simulated else "readings")
            death = rule.death(str(error))
            if rule.then == "stop":
                raise _StationEndedError(death) from error
            silent = StepEnded(ended_s=begun.began_s, after=Counters(), telemetry=None)
            return silent, Ending(rule.status, death.text, death, rule.then)
        if ending.then == "stop":
            assert ending.death is not None
            raise _StationEndedError(ending.death)
        return ended, ending

    def _explained(self, ending: Ending) -> Ending:
        """An abort with the monitor's own words for it."""
        why = next((event.text for event in reversed(self._events) if event.kind == "abort"), "")
        if ending.status is not StepStatus.ABORTED or not why:
            return ending
        return Ending(ending.status, why, ending.death, ending.then)

    def _deadline(self, task: Task, worker_pid: int) -> Deadline:
        return Deadline(
            task.step.seconds, rig.load(self._parts).SILENCE_S, pid=worker_pid, virtual=self.start.simulated
        )


class _StationEndedError(Exception):
    """The step says nothing about the card."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.text)
        self.death = death


def step_spec(start: RunStarted, task: Task, begun: StepBegun, zero_s: float = 0.0) -> StepSpec:
    """What a worker is told about its step."""
    return StepSpec(
        index=task.index,
        probe=task.step.probe,
        seconds=task.step.seconds,
        seed=step_seed(start.seed, task.index),
        options=task.step.options,
        card=_address(start.card),
        scenario=start.scenario if start.simulated else None,
        source=start.source,
        began_s=begun.began_s,
        zero_s=zero_s,
    )


def step_record(task: Task, begun: StepBegun, ended: StepEnded, heard: Heard, ending: Ending) -> StepRecord:
    """A step from what each side saw of it."""
    traces: dict[str, Trace] = dict(heard.traces)
    if ended.telemetry is not None:
        traces["telemetry"] = ended.telemetry
    return StepRecord(
        index=task.index,
        probe=task.step.probe,
        blocker=task.step.blocker,
        seconds=task.step.seconds,
        status=ending.status,
        reason=ending.reason,
        repeat_of=task.repeat_of,
        began_s=begun.began_s,
        ended_s=ended.ended_s,
        declared=heard.declared,
        measurements=tuple(heard.measurements),
        mismatches=tuple(heard.mismatches),
        traces=traces,
        before=begun.before,
        after=ended.after,
        death=ending.death,
    )


# What a run begins with


def first_entry(request: RunRequest, attached: Attached) -> RunStarted:
    """The entry that a run's journal begins with."""
    virtual = request.scenario is not None
    return RunStarted(
        at=journal.now(),
        gpucert=installed_version(),
        pid=os.getpid(),
        boot=_boot_id(),
        simulated=virtual,
        seed=_seed(request),
        plan=request.plan,
        scenario=request.scenario or "",
        source=request.source,
        card=attached.identity,
        settings=attached.settings,
        processes=attached.processes,
        station=_station(),
        versions=_versions(attached.identity),
        inlet_c=request.inlet_c,
        inspection=request.inspection,
    )


def _seed(request: RunRequest) -> int:
    if request.seed is not None:
        return request.seed
    if request.scenario is None:
        return secrets.randbits(32)
    return int.from_bytes(hashlib.sha256(request.scenario.encode()).digest()[:4], "big")


def _station() -> Station:
    return Station(
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu_count=os.cpu_count() or 0,
        clock_utc=journal.now(),
    )


def _versions(card: Identity) -> dict[str, str]:
    versions = {"gpucert": installed_version(), "python": platform.python_version()}
    return versions | ({"driver": card.driver} if isinstance(card.driver, str) else {})


def _boot_id() -> str:
    """Empty where the kernel does not tell: then no restart of the station is ever concluded."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _refusal(error: RefusedError) -> Exception:
    known = {kind.__name__: kind for kind in (NoDriverError, NoSuchGpuError)}
    return known.get(error.error, CardRefusedError)(str(error))


# What a run goes on from


def _unfinished(story: Journal) -> tuple[Task, ...]:
    done = journal.finished_steps(story.entries)
    start = story.entries[0]
    assert isinstance(start, RunStarted)
    return tuple(Task(index, step) for index, step in enumerate(start.plan.steps) if index not in done)


def _repeats(story: Journal, indices: tuple[int, ...]) -> tuple[Task, ...]:
    if not isinstance(story.entries[-1], RunFinished):
        raise RepeatRefusedError(f"{story.path.parent}: the run is not finished; resume it first")
    record = journal.fold(story.entries)
    unknown = [index for index in indices if all(step.index != index for step in record.steps)]
    if unknown:
        raise RepeatRefusedError(f"{story.path.parent}: there is no step {unknown[0] + 1}")
    roots = {_root(record.steps[index]) for index in indices}
    refused = roots - set(repeatable(record, roots))
    if refused:
        raise RepeatRefusedError(f"{story.path.parent}: step {min(refused) + 1} was repeated {REPEATS} times already")
    start = story.entries[0]
    assert isinstance(start, RunStarted)
    first = len(record.steps)
    return tuple(Task(first + n, start.plan.steps[root], root) for n, root in enumerate(sorted(roots)))


def _root(step: StepRecord) -> int:
    return step.index if step.repeat_of is None else step.repeat_of


def stopped_by(steps: Iterable[StepRecord]) -> str:
    """Why no further step can run on this card; empty while it can."""
    for step in steps:
        if step.death is not None and deaths.of_kind(step.death.kind).then == "skip_rest":
            return f"not run, because in step {step.index + 1} ({step.probe}) {step.death.text}"
    return ""


def _last_finished(story: Journal) -> StepFinished | None:
    finished = (entry for entry in reversed(story.entries) if isinstance(entry, StepFinished))
    return next(finished, None)


def _state(story: Journal) -> str:
    last = _last_finished(story)
    return last.state if last else ""


def _clock_s(story: Journal) -> float:
    last = _last_finished(story)
    return last.step.ended_s if last else 0.0


def _address(card: Identity) -> str:
    """What driver and CUDA find a card by."""
    for value in (card.uuid, card.bus_id):
        if not isinstance(value, Absent):
            return value
    return ""


def _refuse_another(start: RunStarted, plan: PlanRun | None, seed: int | None) -> None:
    if start.gpucert != installed_version():
        raise ResumeRefusedError(
            f"this run was begun by gpucert {start.gpucert}, this is {installed_version()}; start the run again"
        )
    if plan is not None and (plan.sha256, plan.hours) != (start.plan.run.sha256, start.plan.run.hours):
        raise ResumeRefusedError(f"this run follows another plan ({start.plan.run.name}); leave --plan out")
    if seed is not None and seed != start.seed:
        raise ResumeRefusedError(f"this run has the seed {start.seed}; leave --seed out")


def _refuse_another_card(folder: Path, recorded: Identity, present: Identity) -> None:
    if recorded.card_id != present.card_id:
        raise ResumeRefusedError(f"{folder}: this run is of card {recorded.card_id}, here is {present.card_id}")
    if recorded.driver != present.driver:
        raise ResumeRefusedError(
            f"{folder}: the driver was {recorded.driver} and is now {present.driver}; start the run again"
        )


def _resumed(story: Journal) -> Resumed:
    return Resumed(
        at=journal.now(),
        pid=os.getpid(),
        boot=_boot_id(),
        event=Event(_clock_s(story), "resumed", "resumed", _what_was_torn(story)),
    )


def _what_was_torn(story: Journal) -> str:
    """One sentence, with the numbers of the attempt that is repeated: they stay on the record."""
    torn = journal.open_step(story.entries)
    if torn is None:
        return "the run was continued between two steps"
    partial = journal.fold(story.entries).steps[torn.index]
    reason = f"attempt {torn.attempt} at step {torn.index + 1} ({torn.probe}) ended unfinished: {partial.reason}"
    wrong = len(partial.mismatches)
    return f"{reason}; {wrong} wrong words were on the journal by then" if wrong else reason


def _give_up_a_deadly_step(story: Journal) -> None:
    """A step in which the whole station went down twice is not tried a third time."""
    torn = journal.open_step(story.entries)
    boot = _boot_id()
    if torn is None:
        return
    trial = Resumed(at="", pid=0, boot=boot, event=Event(0.0, "resumed", "", ""))
    if journal.station_deaths((*story.entries, trial), torn.index) < HOST_DEATHS:
        return
    death = deaths.of_kind("host").death()
    partial = journal.fold(story.entries).steps[torn.index]
    story.append(
        StepFinished(
            at=journal.now(),
            step=structs.replace(partial, status=StepStatus.CRASHED, reason=death.text, death=death),
            state=_state(story),
        )
    )


# Files


def _open_telemetry(path: Path) -> int:
    """Open the file for appending, with its heading and without a row that was cut short. Raises DiskError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.fstat(fd).st_size
        tail = os.pread(fd, 4096, max(0, size - 4096))
        os.ftruncate(fd, size - len(tail) + tail.rfind(b"\n") + 1)
        if b"\n" not in tail:
            os.write(fd, telemetry.HEADER.encode())
    except OSError as error:
        raise DiskError(path, error) from error
    return fd
