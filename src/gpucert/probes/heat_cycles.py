"""Heat cycles: the card cools and heats as far as it does by itself, again and again, and is asked on every way.

Chip, package and board expand differently, so that each cycle bends the solder between them; a joint that is cracked
parts with the heat, and touches again when it is cold. A steady load never moves it. So everything that has a known
answer is asked while the card cools, when it is cool, while it heats, and when it is hot. How far it swung is measured,
because a card that hardly moved was not tested. Nothing of the card is changed: it gets as hot as its own limits allow.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gpucert.probes.bench import Bench, Measure, Probe, SkipError, mean, wrong_value, wrong_word
from gpucert.reading import Absence, Absent, Reading, number
from gpucert.record import Sample
from gpucert.stress.asking import Asked, Asking, Ears, prepared
from gpucert.stress.backend import Matrices, WrongWord
from gpucert.stress.offers import heater
from gpucert.units import Unit

CYCLES = 2
"""Where the plan's step does not say how many."""
SLICE_S = 2.0
"""Of rest or load between two looks at the thermometer."""
LOOK_S = 1.0
"""What a look averages, because sensors tell whole degrees."""
ON_THE_WAY_S = (10.0, 40.0)
"""When to ask on each way: half of it is done within seconds, the rest takes minutes."""
STEADY_S, STEADY_C = 40.0, 1.0
"""A card whose temperature changed by no more in so long has arrived."""
USED_SHARE = 0.95
"""Of the time, because the last round of questions comes when a way is over."""
COOLING, COOL, HEATING, HOT = "cooling", "cool", "heating", "hot"


@dataclass(frozen=True)
class _Round:
    """One round of questions."""

    at_s: float
    """When it had ended."""
    cycle: float
    wrong: float
    """How much of it was wrong."""
    ecc_corrected: float | None
    """By then, where it is counted."""
    pcie_replays: float | None


@dataclass
class _Course:
    """What the cycles went through."""

    coolest: list[float] = field(default_factory=list)
    """Of each cycle that is done, °C."""
    hottest: list[float] = field(default_factory=list)
    unread: int = 0
    """Cycles in which no temperature could be read."""
    rounds: Counter[str] = field(default_factory=Counter)
    """Of questions, by the state that the card was in."""
    lanes: list[int] = field(default_factory=list)
    """Of the PCIe link, while the card was loaded."""
    asked: list[_Round] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        """How many are done."""
        return len(self.hottest) + self.unread

    def swing(self) -> Reading[float]:
        """By how much every cycle swung at least."""
        if self.unread or not self.hottest:
            return Absent(Absence.UNKNOWN, "no temperature was read throughout a cycle")
        return min(hot - cool for hot, cool in zip(self.hottest, self.coolest, strict=True))


def run(bench: Bench) -> None:
    """Cycles that begin with a rest and end hot, because that is how other steps leave the card."""
    planned, replays = int(bench.options.get("cycles", CYCLES)), bench.card.counters().pcie_replays
    load = heater(bench.backend, bench.seed)
    try:
        with prepared(bench.backend, bench.seed, _ears(bench)) as asking:
            cycles = _Cycles(bench, asking, load, planned)
            cycles.run()
    finally:
        load.free()
    _measure(bench, planned, cycles.course, asking.done)
    bench.measure("replays", _growth(replays, bench.card.counters().pcie_replays))


def _ears(bench: Bench) -> Ears:
    def value(wrong: WrongWord, phase: str) -> None:
        bench.mismatch(wrong_value(wrong, phase, bench.card.now_s()))

    return Ears(lambda located: bench.mismatch(wrong_word(located)), value)


class _Cycles:
    """The ways of one card from hot to cool and back; `course` is what came of them."""

    def __init__(self, bench: Bench, asking: Asking, load: Matrices, planned: int) -> None:
        self.course = _Course()
        self._bench = bench
        self._asking = asking
        self._load = load
        self._ways = 2 * planned
        self._runs = max(1, round(SLICE_S / load.run(1, check=False).seconds))

    def run(self) -> None:
        """As many as were planned, or as there is time for. Raises SkipError where there is no thermometer."""
        self._rest()
        degrees = mean(self._look(), "temperature_c")
        if isinstance(degrees, Absent):
            raise SkipError(f"the card tells no temperature ({degrees}), so nobody knows whether it was hot or cool")
        for ways_left in range(self._ways, 0, -2):
            if self._bench.time_left() <= 0:
                return
            cooled = self._way(COOLING, COOL, self._rest, ways_left)
            self._enter([*cooled, *self._way(HEATING, HOT, self._heat, ways_left - 1)])

    def _way(self, moving: str, arrived: str, act: Callable[[], None], ways_left: int) -> list[float]:
        """Rest or load until the temperature is steady or the way's share of the time is over; what was read, °C."""
        share, began = USED_SHARE * self._bench.time_left() / ways_left, self._bench.card.now_s()
        ask_at, read, lately = list(ON_THE_WAY_S), list[float](), list[tuple[float, float]]()
        while (spent := self._bench.card.now_s() - began) < share and not _steady(lately):
            self._tell(moving, spent / share, ways_left)
            act()
            degrees = number(mean(self._look(), "temperature_c"))
            if degrees is not None:
                read.append(degrees)
                lately.append((self._bench.card.now_s(), degrees))
            if ask_at and spent >= ask_at[0]:
                ask_at.pop(0)
                self._ask(moving, everywhere=False)
                lately.clear()  # because the questions warmed it
        self._ask(arrived, everywhere=True)
        return read

    def _rest(self) -> None:
        self._bench.backend.idle(SLICE_S)

    def _heat(self) -> None:
        self._load.run(self._runs, check=False)
        self.course.lanes += [one.pcie_width for one in self._look() if not isinstance(one.pcie_width, Absent)]

    def _look(self) -> tuple[Sample, ...]:
        return self._bench.card.samples(self._bench.card.now_s() - LOOK_S)

    def _ask(self, state: str, *, everywhere: bool) -> None:
        cycle, found = self.course.cycles + 1, self._asking.done.found
        self._asking.ask(f"cycle {cycle}, {state}", everywhere=everywhere)
        self.course.rounds[state] += 1
        now = self._bench.card.counters()
        self.course.asked.append(
            _Round(
                self._bench.card.now_s(),
                float(cycle),
                float(self._asking.done.found - found),
                number(now.ecc_corrected_volatile),
                number(now.pcie_replays),
            )
        )

    def _enter(self, read: list[float]) -> None:
        """A cycle is done, in which these temperatures were read."""
        if read:
            self.course.coolest.append(min(read))
            self.course.hottest.append(max(read))
        else:
            self.course.unread += 1

    def _tell(self, word: str, done: float, ways_left: int) -> None:
        self._bench.progress(1 - (ways_left - min(done, 1.0)) / self._ways, f"cycle {self.course.cycles + 1}: {word}")


def _steady(lately: list[tuple[float, float]]) -> bool:
    """Whether the last temperature is that of STEADY_S ago; these are moments and what was read at each."""
    before = [degrees for at_s, degrees in lately if at_s <= lately[-1][0] - STEADY_S]
    return bool(before) and abs(lately[-1][1] - before[-1]) <= STEADY_C


def _measure(bench: Bench, planned: int, course: _Course, asked: Asked) -> None:
    bench.measure("planned", planned)
    bench.measure("cycles", course.cycles)
    bench.measure("swing", course.swing())
    unread = Absent(Absence.UNKNOWN, "no temperature was read")
    bench.measure("coolest", min(course.coolest, default=unread))
    bench.measure("hottest", max(course.hottest, default=unread))
    bench.measure("asked_cool", course.rounds[COOL])
    bench.measure("asked_moving", course.rounds[COOLING] + course.rounds[HEATING])
    bench.measure("asked_hot", course.rounds[HOT])
    bench.measure("sms_present", bench.backend.properties().sm_count)
    bench.measure("sms_reached", min(map(len, asked.reached.values()), default=0))
    bench.measure("sms_wrong", len(asked.sms_wrong), n=asked.answers)
    bench.measure("elements", asked.elements)
    bench.measure("wrong", asked.wrong)
    bench.measure("words_expected", asked.books.words_expected)
    bench.measure("words_compared", asked.books.words_compared)
    bench.measure("wrong_words", asked.books.wrong_words)
    bench.measure("copied", asked.copied)
    bench.measure("copied_wrong", asked.copied_wrong)
    bench.measure("width", min(course.lanes, default=Absent(Absence.UNKNOWN, "no lanes were read under load")))
    _trace(bench, course.asked)


def _trace(bench: Bench, rounds: list[_Round]) -> None:
    """Every round of questions; a counter that was not always answered is left out."""
    columns = {"cycle": [one.cycle for one in rounds], "wrong": [one.wrong for one in rounds]}
    for name in ("ecc_corrected", "pcie_replays"):
        counted = [value for one in rounds if (value := getattr(one, name)) is not None]
        if len(counted) == len(rounds):
            columns[name] = counted
    bench.trace(
        "asked", tuple(one.at_s for one in rounds), {name: tuple(map(float, one)) for name, one in columns.items()}
    )


def _growth(before: Reading[int], after: Reading[int]) -> Reading[float | int]:
    if isinstance(before, Absent):
        return before
    return after if isinstance(after, Absent) else max(0, after - before)


PROBE = Probe(
    name="heat_cycles",
    summary="the card cooled and heated in turn, and asked for known answers on every way",
    measures=(
        Measure("planned", Unit.COUNT, "heat cycles that the plan asks for"),
        Measure("cycles", Unit.COUNT, "heat cycles that were done"),
        Measure("swing", Unit.CELSIUS, "by how much the temperature swung in every cycle at least"),
        Measure("coolest", Unit.CELSIUS, "the lowest temperature of all cycles"),
        Measure("hottest", Unit.CELSIUS, "the highest temperature of all cycles"),
        Measure("asked_cool", Unit.COUNT, "rounds of questions to the cool card"),
        Measure("asked_moving", Unit.COUNT, "rounds of questions while it cooled or heated"),
        Measure("asked_hot", Unit.COUNT, "rounds of questions to the hot card"),
        Measure("sms_present", Unit.COUNT, "SMs that the compute driver counts"),
        Measure("sms_reached", Unit.COUNT, "SMs that answered for every part"),
        Measure("sms_wrong", Unit.COUNT, "SMs that gave a wrong answer"),
        Measure("elements", Unit.COUNT, "outputs of products that were compared"),
        Measure("wrong", Unit.COUNT, "outputs that were wrong"),
        Measure("words_expected", Unit.COUNT, "64-bit compares of the memory that the plan asks for"),
        Measure("words_compared", Unit.COUNT, "64-bit compares that are proven by count and sum"),
        Measure("wrong_words", Unit.COUNT, "compares that failed"),
        Measure("copied", Unit.COUNT, "64-bit words that were copied over PCIe and compared"),
        Measure("copied_wrong", Unit.COUNT, "words that arrived differently"),
        Measure("width", Unit.COUNT, "the fewest PCIe lanes in use while the card was loaded"),
        Measure("replays", Unit.COUNT, "packets that were sent again over PCIe during the cycles"),
    ),
    run=run,
)
