"""Kinds of arithmetic faults: what is drawn of each, and what must be told of it: diagnosis, multiprocessor, unit."""

from collections.abc import Mapping

from gpucert.device.simulated.faults import SmArithmetic, WrongEveryTime
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.backend import PARTITIONS, UNIT_OF, ArithmeticUnit, DType
from gpucert.trials import drawn
from gpucert.trials.drawn import Fields, Ground, Kind

PARTS = tuple(dict.fromkeys(unit.part.value for unit in ArithmeticUnit))
OFTEN = (1, 1000)
"""One of so many answers is wrong: an SM gives 1536 known ones of each part in a step on a virtual card."""
RARELY = (1000, 10_000)
"""Fewer than that, so that the known answers miss most of them."""


# What is drawn


def _sm(on: Ground) -> Fields:
    return {"sm": on.luck.randrange(on.silicon.model.sm_count)}


def _unit(on: Ground) -> Fields:
    """Any part that the model has."""
    tensor = "tensor" in on.silicon.flop_per_clock
    return {"unit": on.luck.choice([part for part in PARTS if tensor or part != "tensor"])}


def _partition(on: Ground) -> Fields:
    return {**_sm_arithmetic(on), "partition": on.luck.randrange(PARTITIONS), "every": round(on.between(1, 100))}


def _type(on: Ground) -> Fields:
    """Any type that the model multiplies in, and the unit that works it out."""
    dtype = on.luck.choice([dtype for dtype in DType if dtype in on.silicon.flop_per_clock])
    return {"unit": UNIT_OF[dtype].value, "dtype": dtype.value}


def _often(on: Ground) -> Fields:
    return {"every": round(on.between(*OFTEN))}


def _sm_arithmetic(on: Ground) -> Fields:
    return {**_sm(on), **_unit(on), **_often(on)}


def _sm_arithmetic_rare(on: Ground) -> Fields:
    return {**_sm(on), **_unit(on), "every": round(on.between(*RARELY))}


def _sm_arithmetic_hot(on: Ground) -> Fields:
    return {**_sm_arithmetic(on), **on.only_warm()}


def _sm_arithmetic_type(on: Ground) -> Fields:
    return {**_sm(on), **_type(on), **_often(on)}


def _sm_arithmetic_burst(on: Ground) -> Fields:
    return {**_sm(on), "unit": _type(on)["unit"], **_often(on), "burst": True}


_EVERY = f"one of {OFTEN[0]} to {OFTEN[1]} answers (log-uniform)"
KINDS: Mapping[str, Kind] = {
    "sm_arithmetic": Kind(
        fault="sm_arithmetic",
        says=f"any part of any SM that gives {_EVERY} wrongly",
        draw=_sm_arithmetic,
        ecc=None,
    ),
    "sm_partition": Kind(
        fault="sm_arithmetic",
        says="the same only in one of the four sub-partitions, and of one of 1 to 100 answers (log-uniform)",
        draw=_partition,
        ecc=None,
    ),
    "sm_arithmetic_rare": Kind(
        fault="sm_arithmetic",
        says=f"as sm_arithmetic, of one of {RARELY[0]} to {RARELY[1]} answers (log-uniform)",
        draw=_sm_arithmetic_rare,
        ecc=None,
    ),
    "sm_arithmetic_hot": Kind(
        fault="sm_arithmetic",
        says="as sm_arithmetic, but only above a temperature as for retention_warm",
        draw=_sm_arithmetic_hot,
        ecc=None,
    ),
    "sm_arithmetic_type": Kind(
        fault="sm_arithmetic",
        says="as sm_arithmetic, but only in matrix products of one type that the model has",
        draw=_sm_arithmetic_type,
        ecc=None,
    ),
    "sm_arithmetic_burst": Kind(
        fault="sm_arithmetic",
        says="as sm_arithmetic, in a unit that multiplies matrices, but only in work that begins in a burst of load",
        draw=_sm_arithmetic_burst,
        ecc=None,
    ),
    "wrong_every_time": Kind(
        fault="wrong_every_time",
        says="any part that gives the same wrong answers on every SM, every time",
        draw=_unit,
        ecc=None,
    ),
    "wrong_every_time_type": Kind(
        fault="wrong_every_time",
        says="the same only in matrix products of one type that the model has",
        draw=_type,
        ecc=None,
    ),
}
"""Every kind of wrong answers of this bench, by name."""


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one fault of a kind."""
    return drawn.planted(name, KINDS[name], seed)


# What must be told of them


def expected(card: Scenario) -> frozenset[str]:
    """The diagnoses that are right for the one arithmetic fault of a card; each of them by itself is enough."""
    if single := card.first(SmArithmetic):
        if single.dtype:
            return frozenset({"compute.wrong"})  # no known answer meets it, and cuBLAS tells no SM
        seldom = single.every > OFTEN[1] or single.above_c is not None or single.burst
        return frozenset({"compute.sm", "compute.wrong"} if seldom else {"compute.sm"})
    (everywhere,) = card.of(WrongEveryTime)
    return frozenset({"compute.wrong" if everywhere.dtype else "compute.repeatable"})


def sm(card: Scenario) -> int | None:
    """The one SM that is wrong; None where all are."""
    single = card.first(SmArithmetic)
    return single.sm if single else None


def unit(card: Scenario) -> str:
    """The one unit that is wrong."""
    (fault,) = [one for one in card.faults if isinstance(one, SmArithmetic | WrongEveryTime)]
    return fault.unit
