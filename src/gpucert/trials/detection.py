"""What the memory scan finds: faults planted in virtual cards, kind by kind, and what other algorithms find of them.

A card is scanned by a plan of one step in the processes of this bench, and judged as any card is. Found means that the
verdict is against the card; that it says nothing (incomplete) finds no fault. What is counted is recall on planted
virtual faults: nothing here was measured on silicon.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Literal

from msgspec import Struct, structs

from gpucert.device.simulated.scenario import parse
from gpucert.diagnosis import kind_of
from gpucert.outcome import ExitCode, VerdictOutcome
from gpucert.run import plan
from gpucert.run.plan import PlannedRun, Step
from gpucert.stress.memory_scan import PROFILES
from gpucert.trials import ablation, in_process, memory_faults, peers, pool
from gpucert.trials.cards import MOST_CARDS, Matcher
from gpucert.trials.rate import Bounded, bounded
from gpucert.verdict import policy as policies
from gpucert.verdict.judge import judge

TITLE = "recall on planted virtual faults"
HEALTHY = "healthy"
"""In place of a kind: cards on which everything that is found is a false alarm."""
SLOW = ("deep",)
"""Profiles that take so long that they are given fewer cards."""
QUICK_FOR_SLOW = 10
"""So many quick scans without a phase are made for each slow thing; they cost a tenth."""
SHOWN = 10
"""Cards that went wrong are named by their seeds, so that they can be run again; no more than these of each row."""
SCAN_S = 600.0
"""Of the step, as in the standard plan; a virtual card repeats nothing to fill it."""

Sort = Literal["profile", "peer", "ablation"]


class UnknownProfileError(ValueError):
    """The scan has no such profile; the text names those that it has."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What to plant, and in how many cards."""

    kinds: tuple[str, ...] = tuple(memory_faults.KINDS)
    profiles: tuple[str, ...] = tuple(PROFILES)
    peers: bool = True
    ablate: bool = False
    """Leave each phase out in turn, too."""
    seeds: int = 600
    """Cards of each kind."""
    slow: int = 30
    """Of these, the first so many also by what is slow: the deep profile, the peers, and scans without a phase."""
    healthy: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in self.kinds:
            memory_faults.kind_of(kind)
        for profile in self.profiles:
            if profile not in PROFILES:
                raise UnknownProfileError(f"no profile is called {profile!r}; there are {', '.join(PROFILES)}")


class Method(Struct, frozen=True):
    """A way to look for faults."""

    sort: Sort
    name: str
    """Of a profile of our scan, or of a peer."""
    without: str = ""
    """The phase that is left out of the profile; empty where none is, to compare with."""

    def cards(self, wanted: Wanted, of: int) -> int:
        """How many of so many cards it is given: the first ones, by what a card costs."""
        slow = self.sort != "profile" or self.name in SLOW
        quick = self.sort == "ablation" and self.name == "quick"
        return min(of, wanted.slow * (QUICK_FOR_SLOW if quick else 1)) if slow else of


class Row(Struct, frozen=True, kw_only=True):
    """How one method did on the cards of one kind."""

    planted: str
    """A kind, or `healthy`."""
    method: Method
    found: Bounded
    """On healthy cards: false alarms."""
    beside: Bounded
    """The same of the first cards alone, those that every method was given."""
    right: Bounded | None
    """Of those found: with the right diagnosis and no wrong one; without a verdict, named right. Peers name nothing."""
    foreign: Bounded | None
    """Of all: with a diagnosis of another family."""
    missed: tuple[int, ...] = ()
    """Seeds of the first cards that were not found; of healthy ones, of those with a false alarm."""
    misnamed: tuple[int, ...] = ()
    """Seeds of the first cards that were found, and whose diagnosis is not the right one."""


class Told(Struct, frozen=True, kw_only=True):
    """What a bench found. `simulated` says what nobody may overlook."""

    simulated: bool
    title: str
    command: str
    """Which makes the same again."""
    rows: tuple[Row, ...]
    exit_code: ExitCode


class _Job(Struct, frozen=True):
    """One card. Everything that a worker needs."""

    planted: str
    seed: int
    methods: tuple[Method, ...]
    match: Matcher


class _Seen(Struct, frozen=True):
    """What one method made of one card."""

    found: bool
    right: bool = False
    foreign: bool = False


class _Examined(Struct, frozen=True):
    planted: str
    seed: int
    seen: dict[Method, _Seen]


def run(wanted: Wanted, match: Matcher, progress: Callable[[int, int], None]) -> Told:
    """Plant, scan, judge and count on all cores. `progress` hears how many of how many cards are done."""
    jobs = list(_jobs(wanted, match))
    done: list[_Examined] = []
    for examined in pool.each(_examined, jobs):
        done.append(examined)
        progress(len(done), len(jobs))
    rows = tuple(_rows(wanted, done))
    alarmed = any(row.found.hits for row in rows if row.planted == HEALTHY and row.method.sort == "profile")
    return Told(
        simulated=True,
        title=TITLE,
        command=command(wanted),
        rows=rows,
        exit_code=ExitCode.NOT_CERTIFIED if alarmed else ExitCode.CERTIFIED,
    )


def command(wanted: Wanted) -> str:
    """The command line that asks for this."""
    words = [f"gpucert bench detection --seeds {wanted.seeds} --slow-seeds {wanted.slow} --healthy {wanted.healthy}"]
    words += [f"--seed {wanted.seed}"] if wanted.seed else []
    words += [f"--profile {name}" for name in wanted.profiles if wanted.profiles != tuple(PROFILES)]
    words += [f"--kind {name}" for name in wanted.kinds if wanted.kinds != tuple(memory_faults.KINDS)]
    words += [] if wanted.peers else ["--no-peers"]
    words += ["--ablate"] if wanted.ablate else []
    return " ".join(words)


def methods(wanted: Wanted, planted: str) -> tuple[Method, ...]:
    """What is used on the cards of a kind: peers are not asked about faults that only one of our profiles looks for."""
    only = "" if planted == HEALTHY else memory_faults.kind_of(planted).only
    ours = [Method("profile", name) for name in wanted.profiles if only in ("", name)]
    theirs = [Method("peer", name) for name in peers.PEERS if wanted.peers and not only]
    fewer = [
        Method("ablation", profile, phase)
        for profile in ablation.ABLATED
        if wanted.ablate and not only
        for phase in ("", *ablation.phases(profile))
    ]
    return (*ours, *theirs, *(() if planted == HEALTHY else fewer))


def _jobs(wanted: Wanted, match: Matcher) -> Iterator[_Job]:
    for planted in (*wanted.kinds, HEALTHY):
        used = methods(wanted, planted)
        count = wanted.healthy if planted == HEALTHY else wanted.seeds
        # what only one profile looks for is worth all cards
        share = {one: count if len(used) == 1 else one.cards(wanted, count) for one in used}
        for number in range(count):
            if here := tuple(one for one in used if number < share[one]):
                yield _Job(planted, wanted.seed * MOST_CARDS + number, here, match)


@cache
def planned(profile: str) -> PlannedRun:
    """The plan whose only step is the scan."""
    step = Step(probe="memory_scan", seconds=SCAN_S, blocker=True, options={"profile": profile})
    return plan.ready(structs.replace(plan.load("quick"), name=f"bench-detection-{profile}", step=(step,)))


def scenario(planted: str, seed: int) -> str:
    """The text of the scenario of one card of this bench. Raises memory_faults.UnknownKindError."""
    return memory_faults.healthy(seed) if planted == HEALTHY else memory_faults.planted(planted, seed)


def _examined(job: _Job) -> _Examined:
    text = scenario(job.planted, job.seed)
    return _Examined(job.planted, job.seed, {one: _look(one, text, job) for one in job.methods})


def _look(method: Method, text: str, job: _Job) -> _Seen:
    card = parse(text, job.planted)
    if method.sort == "peer":
        return _Seen(peers.finds(method.name, card))
    if method.sort == "ablation":
        return _Seen(*ablation.finds(card, method.name, method.without))
    record = in_process.run(text, job.planted, planned(method.name))
    verdict = judge(record, record_sha256="", match=job.match(record.card), baseline=None, policy=policies.shipped())
    codes = {one.code for one in verdict.diagnoses}
    if job.planted == HEALTHY:
        alarm = bool(codes) or verdict.outcome is not VerdictOutcome.REPORTED
        return _Seen(alarm, foreign=bool(codes))
    codes -= memory_faults.besides(card)
    right = memory_faults.expected(card)
    return _Seen(
        found=verdict.outcome is VerdictOutcome.NOT_CERTIFIED,
        right=bool(codes) and codes <= right,
        foreign=not _families(codes) <= _families(right),
    )


def _families(codes: Iterable[str]) -> set[str]:
    return {kind_of(code).family for code in codes}


# Counting


def _rows(wanted: Wanted, done: Sequence[_Examined]) -> Iterator[Row]:
    for planted in (*wanted.kinds, HEALTHY):
        cards = [one for one in done if one.planted == planted]
        for method in methods(wanted, planted):
            yield _row(
                planted,
                method,
                [(one.seed, one.seen[method]) for one in cards if method in one.seen],
                wanted.slow,
            )


def _row(planted: str, method: Method, cards: Sequence[tuple[int, _Seen]], first: int) -> Row:
    found = [(seed, seen) for seed, seen in cards if seen.found]
    right = [seed for seed, seen in found if seen.right]
    healthy, peer, judged = planted == HEALTHY, method.sort == "peer", method.sort == "profile"
    missed = [seed for seed, seen in cards if seen.found == healthy]
    misnamed = [seed for seed, seen in found if not seen.right]
    return Row(
        planted=planted,
        method=method,
        found=bounded(len(found), len(cards)),
        beside=bounded(sum(seen.found for _, seen in cards[:first]), min(first, len(cards))),
        right=bounded(len(right), len(found)) if not (peer or healthy) else None,
        foreign=bounded(sum(seen.foreign for _, seen in cards), len(cards)) if judged else None,
        missed=tuple(missed[:SHOWN]),
        misnamed=tuple(misnamed[:SHOWN]) if not (peer or healthy) else (),
    )
