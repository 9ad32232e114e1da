"""SM answers: every streaming multiprocessor works through chains whose end is known, unit by unit.

A matrix product tells that an answer is wrong, but not who gave it. Here each SM answers alone, several times, and is
compared with a reference that the card did not make; a wrong one is named.
"""

from gpucert.probes.bench import Bench, Measure, Probe
from gpucert.reading import Absence, Absent
from gpucert.stress.backend import Answer, ArithmeticUnit, UnitNotOfferedError
from gpucert.units import Unit

REPEATS = 3
"""An SM is named after it was wrong in three answers or fewer repeats of a rarer fault."""
ROUNDS = 2
"""Rounds of new data for each unit; more where time is to be filled."""
MOST_NAMED = 8


def run(bench: Bench) -> None:
    """Ask every unit of every SM in rounds of new data."""
    given: dict[ArithmeticUnit, list[Answer]] = {}
    for number, unit in enumerate(ArithmeticUnit):
        bench.progress(number / len(ArithmeticUnit), unit.value)
        try:
            given[unit] = _rounds(bench, unit, len(ArithmeticUnit) - number)
        except UnitNotOfferedError as error:
            bench.measure(f"{unit.value}_wrong", Absent(Absence.NOT_SUPPORTED, str(error)))
            continue
        bench.measure(f"{unit.value}_wrong", len(_wrong(given[unit])), n=len(given[unit]))
    present = bench.backend.properties().sm_count
    reached = min((len({answer.sm for answer in answers}) for answers in given.values()), default=0)
    wrong = {sm: unit for unit, answers in given.items() for sm in sorted(_wrong(answers))}
    bench.measure("sms_present", present)
    bench.measure("sms_reached", reached)
    bench.measure("sms_wrong", len(wrong), where=_places(given))


def _rounds(bench: Bench, unit: ArithmeticUnit, units_left: int) -> list[Answer]:
    answers = list(bench.backend.answers(unit, REPEATS, bench.seed))
    share = bench.time_left() / units_left
    began, number = bench.backend.seconds(), 1
    while number < ROUNDS or (bench.backend.fills_time and bench.backend.seconds() - began < 0.8 * share):
        answers.extend(bench.backend.answers(unit, REPEATS, bench.seed + number))
        number += 1
    return answers


def _wrong(answers: list[Answer]) -> set[int]:
    return {answer.sm for answer in answers if answer.wrong}


def _places(given: dict[ArithmeticUnit, list[Answer]]) -> str:
    """The SMs that were wrong, with the units, the first few of them."""
    places = [f"SM {sm} ({unit.value})" for unit, answers in given.items() for sm in sorted(_wrong(answers))]
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return ", ".join(places[:MOST_NAMED]) + more


PROBE = Probe(
    name="sm_answers",
    summary="known answers asked of every SM, unit by unit",
    measures=(
        Measure("sms_present", Unit.COUNT, "SMs that the compute driver counts"),
        Measure("sms_reached", Unit.COUNT, "SMs that answered for every unit"),
        Measure("sms_wrong", Unit.COUNT, "SMs that gave a wrong answer"),
        *(
            Measure(f"{unit.value}_wrong", Unit.COUNT, f"SMs with a wrong {unit.value} answer")
            for unit in ArithmeticUnit
        ),
    ),
    run=run,
)
