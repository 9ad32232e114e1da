"""What is behind a wrong word: experiments with it after the phase that met it, and a report of each."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from gpucert.stress.backend import Backend, Region
from gpucert.stress.evidence import Evidence, classify, data_line, one_sm, owner
from gpucert.stress.sweeper import EXAMINED, ClearAnswerError, Suspect, Sweeper, Tries, read

REREADS = 8
"""How often a rewritten word is read: a cell that is misread every other time is right once in them, nearly always."""
REST_S = 0.5
"""The shortest rest: many times what refresh allows any row."""
LONGEST_REST_S = 120.0
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class Located:
    """One wrong word, looked into. `owner` is the word that the wrong value belongs to, for an alias.

    `wrong_again` of `tries` experiments showed it wrong again; none were made with a word that is `unclassified`.
    """

    phase: str
    word: int
    expected: int
    actual: int
    kind: str
    owner: int | None
    sm: int
    at_s: float
    wrong_again: int
    tries: int


def rewritten(backend: Backend, suspect: Suspect) -> tuple[Tries, ...]:
    """Rewrite a word with what it should hold and with the inverse, reading each time. It holds the former at the end.

    Twice in turn, because a cell that cannot rise, or fall, keeps what it held by chance the first time.
    """
    word, right = suspect.wrong.word, suspect.wrong.expected
    seen: dict[int, list[Tries]] = defaultdict(list)
    for value in (right, right ^ _ALL, right, right ^ _ALL, right):
        backend.poke(suspect.region, word, value)
        seen[value].append(read(backend, suspect.region, word, value, REREADS))
    last = {value: tries[1:] or tries for value, tries in seen.items()}
    return tuple((sum(wrong for wrong, _ in of), sum(tries for _, tries in of)) for of in last.values())


class Inquiry:
    """Looks into the new wrong words of each phase when it has ended, and reports every one."""

    def __init__(self, sweeper: Sweeper, peeks: int, report: Callable[[Located], None]) -> None:
        """`peeks` is how often a word that seems right again is stared at in each polarity."""
        self._sweeper = sweeper
        self._backend = sweeper.backend
        self._peeks = peeks
        self._report = report
        self._told: set[int] = set()
        self._examined = 0
        self.located: list[Located] = []

    @property
    def aliased(self) -> bool:
        """Whether a word held the data of another address: then nothing else makes sense."""
        return any(one.kind == "alias" for one in self.located)

    def look_into(self, repeat: Callable[[], None], repeats: int) -> None:
        """Experiments with the words that are new; `repeat` runs their phase again."""
        self._remember()
        while new := self._new():  # again, because a repeated phase may meet more of them
            self._examine(new, repeat, repeats)

    def _examine(self, new: list[Suspect], repeat: Callable[[], None], repeats: int) -> None:
        evidence = self._owned(new)
        chosen = [one for one in new if one.wrong.word not in evidence][: max(0, EXAMINED - self._examined)]
        self._examined += len(chosen)
        evidence |= {one.wrong.word: self._alone(one) for one in chosen}
        self._rest(chosen, evidence)
        left = [one for one in chosen if _unexplained(evidence[one.wrong.word])]
        if left:
            self._repeat(left, repeat, repeats, evidence)
        kinds = {word: classify(found) for word, found in evidence.items()}
        self._told |= _beside_the_point(new, kinds)
        together = self._together({kind for word, kind in kinds.items() if word not in self._told})
        for number, one in enumerate(self.located):
            if together is not None and one.kind not in (together, "alias"):
                self._tell_anew(number, together)
        for suspect in (one for one in new if one.wrong.word not in self._told):
            kind = kinds.get(suspect.wrong.word, "unclassified")
            found = evidence.get(suspect.wrong.word, Evidence())
            self._tell(suspect, kind if together is None or kind == "alias" else together, found)

    def _together(self, kinds: set[str]) -> str | None:
        """What many wrong words say together that none says alone; `kinds` are of those that were looked into now."""
        suspects = list(self._sweeper.suspects.values())
        kinds = kinds or {one.kind for one in self.located}
        if kinds == {"path"} or (kinds == {"transient"} and one_sm(suspects)):
            return "path"
        return None if data_line(suspects) is None else "data_line"

    def leave(self) -> None:
        """Report what nobody could look into, because the scan ends here."""
        for suspect in self._new():
            self._tell(suspect, "unclassified", Evidence(reread=suspect.reread))

    def _remember(self) -> None:
        """A word that was right again, and wrong again in a later phase, is no transient."""
        for number, one in enumerate(self.located):
            if one.kind == "transient" and (again := self._sweeper.suspects[one.word].again):
                self._tell_anew(number, "intermittent", again)

    def _tell_anew(self, number: int, kind: str, again: int = 0) -> None:
        """What was told of a word before is known better now."""
        one = self.located[number]
        self.located[number] = replace(one, kind=kind, wrong_again=one.wrong_again + again, tries=one.tries + again)
        self._report(self.located[number])

    def _new(self) -> list[Suspect]:
        return [one for word, one in self._sweeper.suspects.items() if word not in self._told]

    def _tell(self, suspect: Suspect, kind: str, evidence: Evidence) -> None:
        wrong, tries = evidence.tries
        located = Located(
            phase=suspect.phase,
            word=suspect.wrong.word,
            expected=suspect.wrong.expected,
            actual=suspect.wrong.actual,
            kind=kind,
            owner=evidence.owner,
            sm=suspect.wrong.sm,
            at_s=suspect.at_s,
            wrong_again=wrong,
            tries=tries,
        )
        self._told.add(located.word)
        self.located.append(located)
        self._report(located)

    def _owned(self, suspects: list[Suspect]) -> dict[int, Evidence]:
        """Words that hold the data of another address: nothing more need be asked of them."""
        owners = {one.wrong.word: owner(self._sweeper.whole, one) for one in suspects}
        return {word: Evidence(owner=belongs_to) for word, belongs_to in owners.items() if belongs_to is not None}

    def _alone(self, suspect: Suspect) -> Evidence:
        """What the word shows by itself."""
        evidence = Evidence(
            reread=suspect.reread,
            again=suspect.again,
            copied=suspect.origin is not None,
            rewritten=rewritten(self._backend, suspect),
        )
        if classify(evidence) != "transient":
            return evidence
        return replace(evidence, stared=self._stare(suspect))

    def _stare(self, suspect: Suspect) -> Tries:
        wrong, word = 0, suspect.wrong.word
        for value in (suspect.wrong.expected ^ _ALL, suspect.wrong.expected):
            self._backend.poke(suspect.region, word, value)
            wrong += read(self._backend, suspect.region, word, value, self._peeks)[0]
        return wrong, 2 * self._peeks

    def _rest(self, suspects: list[Suspect], evidence: dict[int, Evidence]) -> None:
        """Leave words alone as long as they had been when they were found wrong: everything else is read, or idles."""
        for idle in (False, True):
            resting = [one for one in suspects if _unexplained(evidence[one.wrong.word])]
            if not resting:
                return
            for one in resting:
                self._backend.poke(one.region, one.wrong.word, one.wrong.expected)
            self._backend.flush()
            seconds = min(max(REST_S, *(1.2 * one.rested_s for one in resting)), LONGEST_REST_S)
            if idle:
                self._backend.idle(seconds)
            else:
                others = _apart(self._sweeper.whole, {one.region for one in resting})
                self._sweeper.hammer(others, "read", seconds)
            for one in resting:
                found = evidence[one.wrong.word]
                wrong, tries = read(self._backend, one.region, one.wrong.word, one.wrong.expected, 1)
                rested = found.rested[0] + wrong, found.rested[1] + tries
                evidence[one.wrong.word] = replace(found, rested=rested)

    def _repeat(
        self, suspects: list[Suspect], repeat: Callable[[], None], times: int, evidence: dict[int, Evidence]
    ) -> None:
        """Run the phase of these words again and count in how many runs each was wrong."""
        wrong = dict.fromkeys((one.wrong.word for one in suspects), 0)
        for _ in range(times):
            before = {one.wrong.word: one.again for one in suspects}
            with suppress(ClearAnswerError):
                repeat()
            for one in suspects:
                wrong[one.wrong.word] += one.again > before[one.wrong.word]
        for word, seen in wrong.items():
            evidence[word] = replace(evidence[word], repeated=(seen, times))


def _beside_the_point(new: Iterable[Suspect], kinds: dict[int, str]) -> set[int]:
    """Of each moved word and the one that it came from the one that is not at fault."""

    def clear(suspect: Suspect) -> bool:
        return kinds.get(suspect.wrong.word, "unclassified") not in ("soft", "transient", "path", "unclassified")

    pairs = [(one, one.origin) for one in new if one.origin is not None]
    return {(one if clear(origin) and not clear(one) else origin).wrong.word for one, origin in pairs}


def _unexplained(evidence: Evidence) -> bool:
    return classify(evidence) in ("soft", "transient")


def _apart(whole: tuple[Region, ...], resting: Iterable[Region]) -> tuple[Region, ...]:
    """The regions of which no part rests."""
    spans = [(one.first_word, one.first_word + one.words) for one in resting]
    return tuple(
        region
        for region in whole
        if not any(first < region.first_word + region.words and region.first_word < end for first, end in spans)
    )
