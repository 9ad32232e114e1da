"""SM answers: every streaming multiprocessor works through chains whose end is known, part by part.

A matrix product tells that an answer is wrong, but not who gave it. Here each SM answers alone, several times, and is
compared with a reference that the card did not make; a wrong one is named, with its part and its sub-partition, and is
asked again, because a fault that comes again is another one than a fault that came once.
"""

from dataclasses import dataclass, field

from msgspec import structs

from gpucert.probes.bench import Bench, Measure, Probe, wrong_value
from gpucert.reading import Absence, Absent
from gpucert.record import Mismatch
from gpucert.stress.backend import Answer, ArithmeticUnit, UnitNotOfferedError
from gpucert.units import Unit

REPEATS, MANY_REPEATS = 3, 30
"""Answers of each SM in a round; many on a card, because the host works out a reference for each round."""
ROUNDS = 2
"""Of each part: the same data cold and hot; then new data in each round where time is to be filled."""
HEATED_SHARE = 0.3
"""Of the time, before the second round: what fails only while it is hot must be asked while it is."""
STILL_HOT_S = 2.0
"""After each further round, because chains that answer do not heat much."""
LEFT_SHARE = 0.2
"""Of the time, to ask again in."""
AGAIN = 10
"""How often an SM that was wrong is asked the same once more."""
MOST_RECORDED = 32
"""Wrong SMs that are recorded of each part."""
_WORDS = {
    ArithmeticUnit.INT32: "integer",
    ArithmeticUnit.FP32: "FP32",
    ArithmeticUnit.FP64: "FP64",
    ArithmeticUnit.SFU: "special-function",
    ArithmeticUnit.SHARED: "shared-memory",
    ArithmeticUnit.REGISTERS: "register",
    ArithmeticUnit.SHUFFLE: "shuffle",
    ArithmeticUnit.ATOMICS: "atomic",
    ArithmeticUnit.BRANCHES: "branch",
    ArithmeticUnit.TENSOR: "FP16 tensor",
    ArithmeticUnit.TENSOR_BF16: "BF16 tensor",
    ArithmeticUnit.TENSOR_TF32: "TF32 tensor",
    ArithmeticUnit.TENSOR_INT8: "INT8 tensor",
    ArithmeticUnit.TENSOR_FP64: "FP64 tensor",
}


@dataclass
class _Asked:
    """What the SMs answered for one part."""

    unit: ArithmeticUnit
    count: int = 0
    reached: set[int] = field(default_factory=set)
    first: dict[int, tuple[int, Answer]] = field(default_factory=dict)
    """The first wrong answer of each SM, and the round in which it was given."""

    def take(self, number: int, answers: tuple[Answer, ...]) -> None:
        """What was answered in a round."""
        self.count += len(answers)
        self.reached |= {one.sm for one in answers}
        for one in answers:
            if one.wrong:
                self.first.setdefault(one.sm, (number, one))


def run(bench: Bench) -> None:
    """Ask every part of every SM in rounds: one on the card as it is, the others once it was heated."""
    budget = bench.time_left()
    asked = _first_round(bench)
    bench.progress(1 / ROUNDS, "heating")
    bench.backend.burn(HEATED_SHARE * budget)
    repeats, number = MANY_REPEATS if bench.backend.fills_time else REPEATS, 1
    while number < ROUNDS or (bench.backend.fills_time and bench.time_left() > LEFT_SHARE * budget):
        for one in asked:
            bench.progress(1 - bench.time_left() / budget, one.unit.value)
            one.take(number, bench.backend.answers(one.unit, repeats, _seed(bench, number)))
        if bench.backend.fills_time:
            bench.backend.burn(STILL_HOT_S)
        number += 1
    for one in asked:
        bench.measure(f"{one.unit.value}_wrong", len(one.first), n=one.count)
        _ask_again(bench, one)
    bench.measure("sms_present", bench.backend.properties().sm_count)
    bench.measure("sms_reached", min((len(one.reached) for one in asked), default=0))
    bench.measure("sms_wrong", len({sm for one in asked for sm in one.first}))


def _first_round(bench: Bench) -> list[_Asked]:
    """The parts that the card has, each asked; of the others, why not."""
    asked = []
    for number, unit in enumerate(ArithmeticUnit):
        bench.progress(number / len(ArithmeticUnit) / ROUNDS, unit.value)
        one = _Asked(unit)
        try:
            one.take(0, bench.backend.answers(unit, REPEATS, bench.seed))
        except UnitNotOfferedError as error:
            bench.measure(f"{unit.value}_wrong", Absent(Absence.NOT_SUPPORTED, str(error)))
            continue
        asked.append(one)
    return asked


def _seed(bench: Bench, number: int) -> int:
    """Of the data of a round."""
    return bench.seed + max(number - 1, 0)


def _ask_again(bench: Bench, asked: _Asked) -> None:
    """Ask for the rounds once more in which SMs were wrong, and record each of those with what it answered then."""
    rounds = {number for number, _ in asked.first.values()}
    again = {
        number: {one.sm: one for one in bench.backend.answers(asked.unit, AGAIN, _seed(bench, number))}
        for number in sorted(rounds)[:MOST_RECORDED]
    }
    for number, answer in list(asked.first.values())[:MOST_RECORDED]:
        bench.mismatch(_located(bench, number, answer, again.get(number, {}).get(answer.sm)))


def _located(bench: Bench, number: int, answer: Answer, again: Answer | None) -> Mismatch:
    """An SM that was wrong, in which round, and what it did when it was asked again."""
    assert answer.first_wrong is not None
    given = (answer,) if again is None else (answer, again)
    return structs.replace(
        wrong_value(answer.first_wrong, f"{answer.unit.value}, round {number + 1}", bench.card.now_s()),
        partitions=tuple(sorted({place for one in given for place in one.partitions})),
        again=sum(one.wrong for one in given),
        tries=sum(one.repeats for one in given),
    )


PROBE = Probe(
    name="sm_answers",
    summary="known answers asked of every SM, part by part",
    measures=(
        Measure("sms_present", Unit.COUNT, "SMs that the compute driver counts"),
        Measure("sms_reached", Unit.COUNT, "SMs that answered for every part"),
        Measure("sms_wrong", Unit.COUNT, "SMs that gave a wrong answer"),
        *(
            Measure(f"{unit.value}_wrong", Unit.COUNT, f"SMs with a wrong {words} answer")
            for unit, words in _WORDS.items()
        ),
    ),
    run=run,
)
