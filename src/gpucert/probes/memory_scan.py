"""Memory scan: every word that can be had is written and compared in several patterns, and coverage is proven.

Peers test a few percent of a large card through a truncated size, or never count an error. This one counts what it
compared, sums what it loaded, and plants faults of its own first: a scan that misses one of those proves nothing.
"""

from gpucert.probes.bench import Bench, Measure, Probe, wrong_word
from gpucert.reading import Absence, Absent, Reading
from gpucert.stress.memory_scan import PROFILES, Located, scan
from gpucert.units import Unit

KINDS = ("alias", "hard", "soft", "transient", "path", "intermittent", "coupling", "retention", "data_line")


def run(bench: Bench) -> None:
    """Scan with the profile of the plan's step and put every wrong word that was looked into on the record."""
    profile = PROFILES[str(bench.options.get("profile", "standard"))]
    corrections = _Corrections(bench)

    def report(located: Located) -> None:
        bench.mismatch(wrong_word(located))

    done = scan(bench.backend, profile, bench.seed, bench.time_left, bench.progress, report, corrections.seen)
    bench.measure("coverage", done.coverage_percent)
    bench.measure("words_expected", done.books.words_expected)
    bench.measure("words_compared", done.books.words_compared)
    bench.measure("wrong_words", done.wrong_words)
    bench.measure("wrong_bits", done.books.wrong_bits)
    for kind in KINDS:
        bench.measure(f"{kind}_words", done.of_kind(kind))
    bench.measure("ecc_phases", corrections.absent or done.corrected_phases)
    bench.measure("self_test_planted", done.self_test.planted)
    bench.measure("self_test_found", done.self_test.found)
    bench.measure("rounds", done.rounds)
    bench.measure("reads", done.reads)
    bench.measure("sweep_rate", done.books.swept_bytes * bench.backend.memory_scale / done.books.sweep_seconds / 1e9)
    bench.measure("slowest_chunk", done.books.slowest_chunk_percent)
    bench.measure("error_bound", _clean(done.error_bound))
    bench.measure("escape", _clean(done.escape_percent))


class _Corrections:
    """What ECC corrected while somebody looked: a counter that is not answered for a while neither falls nor rises."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._first = self._last = self._known = bench.card.counters().ecc_corrected_volatile
        self._seen = 0

    def seen(self) -> int:
        """How many errors it has corrected since the counter was answered first."""
        self._last = self._bench.card.counters().ecc_corrected_volatile
        if not isinstance(self._last, Absent):
            if not isinstance(self._known, Absent):
                self._seen += max(0, self._last - self._known)
            self._known = self._last
        return self._seen

    @property
    def absent(self) -> Absent | None:
        """Why nobody knows: the counter was not answered at the beginning, or is not at the end."""
        return next((one for one in (self._last, self._first) if isinstance(one, Absent)), None)


def _clean(value: float | None) -> Reading[float]:
    return Absent(Absence.UNKNOWN, "errors were found") if value is None else value


PROBE = Probe(
    name="memory_scan",
    summary="all memory that can be had written and compared, with proof of coverage",
    measures=(
        Measure("coverage", Unit.PERCENT, "share of the card's memory that was tested"),
        Measure("words_expected", Unit.COUNT, "64-bit compares that the plan asks for"),
        Measure("words_compared", Unit.COUNT, "64-bit compares that are proven by count and sum"),
        Measure("wrong_words", Unit.COUNT, "compares that failed"),
        Measure("wrong_bits", Unit.COUNT, "wrong bits in them"),
        Measure("alias_words", Unit.COUNT, "wrong words that hold the data of another address"),
        Measure("hard_words", Unit.COUNT, "wrong words that were wrong again after a rewrite"),
        Measure("soft_words", Unit.COUNT, "wrong words that a rewrite cured"),
        Measure("transient_words", Unit.COUNT, "wrong words that were right ever after"),
        Measure("path_words", Unit.COUNT, "wrong words that follow the reading SM"),
        Measure("intermittent_words", Unit.COUNT, "wrong words that are right in some reads"),
        Measure("coupling_words", Unit.COUNT, "wrong words that only work elsewhere damages"),
        Measure("retention_words", Unit.COUNT, "wrong words that fade while they rest"),
        Measure("data_line_words", Unit.COUNT, "wrong words that share the lanes of one wire"),
        Measure("ecc_phases", Unit.COUNT, "phases of the scan in which ECC corrected something"),
        Measure("self_test_planted", Unit.COUNT, "words damaged on purpose"),
        Measure("self_test_found", Unit.COUNT, "of those, words that were found and told apart"),
        Measure("rounds", Unit.COUNT, "complete rounds of all phases"),
        Measure("reads", Unit.COUNT, "how often each word was compared"),
        Measure("sweep_rate", Unit.GBYTE_PER_SECOND, "rate of the comparing sweeps"),
        Measure("slowest_chunk", Unit.PERCENT, "how far the slowest chunk lies below the median rate"),
        Measure("error_bound", Unit.PER_BIT, "upper bound (95 %) of errors per bit read, 3/N"),
        Measure("escape", Unit.PERCENT, "chance that a cell misread once in 100 reads was never met"),
    ),
    run=run,
)
