"""What planted faults are found in virtual cards, kind by kind, and what other algorithms find of them.

A card is tested by a plan of a few steps in the processes of this bench, and judged as any card is. Found means that
the verdict is against the card; that it says nothing (incomplete) finds no fault. What is counted is recall on planted
virtual faults: nothing here was measured on silicon.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gpucert.baselines.limit import Baseline
from gpucert.device.simulated.scenario import Scenario, parse
from gpucert.outcome import ExitCode
from gpucert.trials import compute_suite, cycles_suite, heat_suite, memory_suite, off_truth, pool
from gpucert.trials.cards import MOST_CARDS, Matcher
from gpucert.trials.rate import Bounded, bounded
from gpucert.trials.suite import Seen, Suite
from gpucert.verdict import policy as policies
from gpucert.verdict.judge import judge

TITLE = "recall on planted virtual faults"
HEALTHY = "healthy"
"""In place of a kind: cards on which everything that is found is a false alarm."""
QUICK_FOR_SLOW = 10
"""So many quick scans without a phase are made for each slow thing; they cost a tenth."""
SHOWN = 10
"""Cards that went wrong are named by their seeds, so that they can be run again; no more than these of each row."""

SUITES: Mapping[str, Suite] = {
    "memory": memory_suite,
    "compute": compute_suite,
    "cycles": cycles_suite,
    "heat": heat_suite,
}
"""By the name that the command line gives them; each kind of fault is in one of them."""
USUAL = "memory"
"""The suite where neither a suite nor a kind is named."""

Sort = Literal["profile", "peer", "ablation"]


class UnknownKindError(ValueError):
    """No kind of planted fault is called so; the text names those that there are."""


class UnknownProfileError(ValueError):
    """The suite has no such profile; the text names those that it has."""


class TwoSuitesError(ValueError):
    """Kinds of two suites were asked for at once, which have a table each."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What to plant, and in how many cards."""

    suite: str
    kinds: tuple[str, ...]
    """Of the suite."""
    profiles: tuple[str, ...]
    """Of the suite."""
    peers: bool = True
    ablate: bool = False
    """Leave each phase out in turn, too."""
    seeds: int = 600
    """Cards of each kind."""
    slow: int = 30
    """Of these, the first so many also by what is slow: slow profiles, peers, and profiles without a phase."""
    healthy: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_unknown(self.kinds, SUITES[self.suite].KINDS)
        for profile in self.profiles:
            if profile not in SUITES[self.suite].PROFILES:
                known = ", ".join(SUITES[self.suite].PROFILES)
                raise UnknownProfileError(f"no profile is called {profile!r}; there are {known}")


def suite_of(kinds: Sequence[str]) -> str:
    """The suite of these kinds, the usual one where none is named. Raises UnknownKindError or TwoSuitesError."""
    _refuse_unknown(kinds, [kind for suite in SUITES.values() for kind in suite.KINDS])
    of = {name: [kind for kind in kinds if kind in suite.KINDS] for name, suite in SUITES.items()}
    named = [name for name, those in of.items() if those] or [USUAL]
    if len(named) > 1:
        told = " and ".join(f"{of[name][0]} of {name}" for name in named)
        raise TwoSuitesError(f"{told} have a table each; ask for one after the other")
    return named[0]


def _refuse_unknown(kinds: Sequence[str], known: Collection[str]) -> None:
    for kind in kinds:
        if kind not in known:
            raise UnknownKindError(f"no kind of planted fault is called {kind!r}; there are {', '.join(known)}")


class Method(Struct, frozen=True):
    """A way to look for faults."""

    sort: Sort
    name: str
    """Of a profile of ours, or of a peer."""
    without: str = ""
    """The phase that is left out of the profile; empty where none is, to compare with."""

    def cards(self, wanted: Wanted, of: int) -> int:
        """How many of so many cards it is given: the first ones, by what a card costs."""
        slow = self.sort != "profile" or self.name in SUITES[wanted.suite].SLOW
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
    sm: Bounded | None = None
    """Of those found: with the right multiprocessor and no wrong one, where the fault is of one."""
    unit: Bounded | None = None
    """Of those found: with the right unit and no wrong one, where the fault is of one."""
    missed: tuple[int, ...] = ()
    """Seeds of the first cards that were not found; of healthy ones, of those with a false alarm."""
    misnamed: tuple[int, ...] = ()
    """Seeds of the first cards that were found, and whose diagnosis, SM or unit is not the right one."""


class Told(Struct, frozen=True, kw_only=True):
    """What a bench found. `simulated` says what nobody may overlook."""

    simulated: bool
    title: str
    suite: str
    command: str
    """Which makes the same again."""
    rows: tuple[Row, ...]
    alarms: tuple[off_truth.Alarms, ...]
    errors: tuple[off_truth.Errors, ...]
    exit_code: ExitCode


class _Job(Struct, frozen=True):
    """One card. Everything that a worker needs."""

    suite: str
    planted: str
    seed: int
    methods: tuple[Method, ...]
    match: Matcher
    baselines: dict[str, Baseline | None]
    """By which its profiles are judged."""


class _Examined(Struct, frozen=True):
    planted: str
    seed: int
    sort: str
    seen: dict[Method, Seen]


def run(wanted: Wanted, match: Matcher, progress: Callable[[int, int], None]) -> Told:
    """Plant, test, judge and count on all cores. `progress` hears how many of how many cards are done."""
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
        suite=wanted.suite,
        command=command(wanted),
        rows=rows,
        alarms=tuple(off_truth.alarms(_healthy(done))),
        errors=tuple(off_truth.errors(_healthy(done))),
        exit_code=ExitCode.NOT_CERTIFIED if alarmed else ExitCode.CERTIFIED,
    )


def named(suite: str) -> str:
    """The command line of a suite, before anything else is asked for."""
    return "gpucert bench detection" + ("" if suite == USUAL else f" --suite {suite}")


def command(wanted: Wanted) -> str:
    """The command line that asks for this."""
    suite = SUITES[wanted.suite]
    words = [f"{named(wanted.suite)} --seeds {wanted.seeds} --slow-seeds {wanted.slow} --healthy {wanted.healthy}"]
    words += [f"--seed {wanted.seed}"] if wanted.seed else []
    words += [f"--profile {name}" for name in wanted.profiles if wanted.profiles != suite.PROFILES]
    words += [f"--kind {name}" for name in wanted.kinds if wanted.kinds != tuple(suite.KINDS)]
    words += [] if wanted.peers else ["--no-peers"]
    words += ["--ablate"] if wanted.ablate else []
    return " ".join(words)


def methods(wanted: Wanted, planted: str) -> tuple[Method, ...]:
    """What is used on the cards of a kind: peers are not asked about faults that only one of our profiles looks for."""
    suite = SUITES[wanted.suite]
    only = "" if planted == HEALTHY else suite.KINDS[planted].only
    ours = [Method("profile", name) for name in wanted.profiles if only in ("", name)]
    theirs = [Method("peer", name) for name in suite.PEERS if wanted.peers and not only]
    fewer = [
        Method("ablation", profile, phase)
        for profile in suite.ABLATED
        if wanted.ablate and not only
        for phase in ("", *suite.phases(profile))
    ]
    return (*ours, *theirs, *(() if planted == HEALTHY else fewer))


def _jobs(wanted: Wanted, match: Matcher) -> Iterator[_Job]:
    cards = {
        (planted, number): parse(_text(wanted.suite, planted, wanted.seed * MOST_CARDS + number), planted)
        for planted in (*wanted.kinds, HEALTHY)
        for number in range(wanted.healthy if planted == HEALTHY else wanted.seeds)
    }
    judges = SUITES[wanted.suite].judges(wanted.profiles, {card.model for card in cards.values()}, match)
    for planted in (*wanted.kinds, HEALTHY):
        used = methods(wanted, planted)
        count = wanted.healthy if planted == HEALTHY else wanted.seeds
        # what only one profile looks for is worth all cards
        share = {one: count if len(used) == 1 else one.cards(wanted, count) for one in used}
        for number in range(count):
            if here := tuple(one for one in used if number < share[one]):
                seed = wanted.seed * MOST_CARDS + number
                card = cards[planted, number]
                baselines = {one.name: judges(one.name, card) for one in here if one.sort == "profile"}
                yield _Job(wanted.suite, planted, seed, here, match, baselines)


def scenario(planted: str, seed: int, suite: str | None = None) -> str:
    """The text of the scenario of one card of this bench; a suite tells healthy cards. Raises UnknownKindError."""
    return _text((suite or USUAL) if planted == HEALTHY else suite_of([planted]), planted, seed)


def _text(suite: str, planted: str, seed: int) -> str:
    return SUITES[suite].healthy(seed) if planted == HEALTHY else SUITES[suite].planted(planted, seed)


def _examined(job: _Job) -> _Examined:
    card = parse(_text(job.suite, job.planted, job.seed), job.planted)
    seen = {one: _look(one, card, job) for one in job.methods}
    return _Examined(job.planted, job.seed, off_truth.sort_of(card), seen)


def _look(method: Method, card: Scenario, job: _Job) -> Seen:
    suite = SUITES[job.suite]
    if method.sort == "peer":
        return Seen(suite.peer_finds(method.name, card))
    if method.sort == "ablation":
        return suite.without(card, method.name, method.without)
    record, baseline = suite.run(card, method.name), job.baselines[method.name]
    verdict = judge(
        record, record_sha256="", match=job.match(record.card), baseline=baseline, policy=policies.shipped()
    )
    return (suite.alarmed if job.planted == HEALTHY else suite.seen)(card, record, verdict)


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


def _row(planted: str, method: Method, cards: Sequence[tuple[int, Seen]], first: int) -> Row:
    found = [(seed, seen) for seed, seen in cards if seen.found]
    right = [seed for seed, seen in found if seen.right]
    healthy, peer, judged = planted == HEALTHY, method.sort == "peer", method.sort == "profile"
    missed = [seed for seed, seen in cards if seen.found == healthy]
    misnamed = [seed for seed, seen in found if not seen.right or False in (seen.sm, seen.unit)]
    return Row(
        planted=planted,
        method=method,
        found=bounded(len(found), len(cards)),
        beside=bounded(sum(seen.found for _, seen in cards[:first]), min(first, len(cards))),
        right=bounded(len(right), len(found)) if not (peer or healthy) else None,
        foreign=bounded(sum(seen.foreign for _, seen in cards), len(cards)) if judged else None,
        sm=_of_those_asked(seen.sm for _, seen in found),
        unit=_of_those_asked(seen.unit for _, seen in found),
        missed=tuple(missed[:SHOWN]),
        misnamed=tuple(misnamed[:SHOWN]) if not (peer or healthy) else (),
    )


def _healthy(done: Iterable[_Examined]) -> list[off_truth.Healthy]:
    """What each profile made of the healthy cards."""
    return [
        off_truth.Healthy(one.sort, {by.name: seen for by, seen in one.seen.items() if by.sort == "profile"})
        for one in done
        if one.planted == HEALTHY
    ]


def _of_those_asked(answers: Iterable[bool | None]) -> Bounded | None:
    asked = [one for one in answers if one is not None]
    return bounded(sum(asked), len(asked)) if asked else None
