"""Kinds of memory faults: what is drawn of each, and the diagnoses that it must end with."""

from collections.abc import Mapping

from msgspec import structs

from gpucert.device.simulated.faults import (
    Alias,
    CopyEngine,
    Coupling,
    Dq,
    FakeMemory,
    Fault,
    Intermittent,
    Neighbourhood,
    RefreshLost,
    Retention,
    Stripes,
    StuckBit,
    Transition,
)
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.backend import WORD_BYTES
from gpucert.trials import drawn
from gpucert.trials.drawn import HEATED, Fields, Ground, Kind

FREQUENT, RARE = 0.02, 0.001
"""Of each load: a cell that a scan of minutes meets, and one that only many re-reads meet."""
REACHES = (1, 2, 4, 31)
"""Bits on each side of a crowded cell: some patterns have few such neighbourhoods, and a lone bit has the widest."""
APART = (1, 2, 4, 16, 32, 64, 128, 256)
"""Bits between cells that are neighbours in the array, of which nobody publishes the wiring."""
WARM = 0.2
"""Of each load while it is that warm."""

# What is drawn


def _stuck(on: Ground) -> Fields:
    return {**on.cell(), "value": on.luck.randrange(2)}


def _stuck_path(on: Ground) -> Fields:
    return {**_stuck(on), "above_ecc": True}


def _transition(on: Ground) -> Fields:
    return {**on.cell(), "direction": on.luck.choice(("up", "down"))}


def _transition_path(on: Ground) -> Fields:
    return {**_transition(on), "above_ecc": True}


def _dq(on: Ground) -> Fields:
    line = on.luck.randrange(on.card.silicon.memory.channel_bits)
    always = on.luck.random() < 0.5
    return {"line": line, "value": on.luck.randrange(2), "probability": 1.0 if always else on.between(0.001, 1.0)}


def _coupling(on: Ground) -> Fields:
    """From the next word to anywhere, upwards and downwards; one that leaves the memory is drawn again."""
    while True:
        aggressor = on.word()
        distance = on.luck.choice((1, 4, on.luck.randrange(2, 32), on.luck.randrange(32, 1 << 13), on.word()))
        victim = aggressor + on.luck.choice((-1, 1)) * distance
        if 0 <= victim < on.words and victim != aggressor:
            places = {"aggressor": aggressor * WORD_BYTES, "victim": victim * WORD_BYTES}
            return {**places, "bit": on.luck.randrange(64)}


def _coupling_twice(on: Ground) -> Fields:
    return {**_coupling(on), "changes": 2}


def _neighbourhood(on: Ground) -> Fields:
    return {**on.cell(), "reach": on.luck.choice(REACHES)}


def _stripes(on: Ground) -> Fields:
    return {**on.cell(), "apart": on.luck.choice(APART)}


def _copy_engine(on: Ground) -> Fields:
    """So that it errs in some words of any half of the memory, and in few of them."""
    return {"bit": on.luck.randrange(64), "every": on.luck.randrange(2000, on.words // 4)}


def _intermittent(on: Ground) -> Fields:
    return {**on.cell(), "probability": FREQUENT}


def _intermittent_rare(on: Ground) -> Fields:
    return {**on.cell(), "probability": RARE}


def _intermittent_warm(on: Ground) -> Fields:
    return {**on.cell(), "probability": WARM, **on.only_warm()}


def _retention(on: Ground) -> Fields:
    return {**on.cell(), "hold_ms": on.between(1, 31)}


def _retention_warm(on: Ground) -> Fields:
    return {**_retention(on), **on.only_warm()}


def _refresh_lost(on: Ground) -> Fields:
    size = 1 << on.luck.randrange(9, 19)
    offset = on.luck.randrange(on.card.tested_bytes // size) * size
    return {"offset": offset, "bytes": size, "seconds": on.between(0.1, 5)}


def _refresh_lost_warm(on: Ground) -> Fields:
    return {**_refresh_lost(on), **on.only_warm()}


def _refresh_lost_idle(on: Ground) -> Fields:
    return {**_refresh_lost(on), "idle": True}


def _alias(on: Ground) -> Fields:
    """Less than a tenth of the memory, from where on it is called missing rather than mixed up."""
    size = 1 << on.luck.randrange(5, 17)
    source, to = on.luck.sample(range(on.card.tested_bytes // size), 2)
    return {"from": source * size, "to": to * size, "bytes": size}


def _fake_memory(on: Ground) -> Fields:
    return {"real_mib": on.luck.randrange(1, on.card.vram_mib)}


_CELL = "any bit of any word"
_PLAIN = {
    "stuck_bit": Kind(fault="stuck_bit", says=f"{_CELL} stuck at 0 or 1", draw=_stuck),
    "transition": Kind(fault="transition", says=f"{_CELL} that cannot rise, or cannot fall", draw=_transition),
    "dq": Kind(
        fault="dq",
        says="any wire of a channel that reads 0 or 1: half of them always, half with a probability of 0.001 to 1 "
        "(log-uniform) of each beat",
        draw=_dq,
    ),
    "coupling": Kind(
        fault="coupling",
        says="any bit of any word inverts the same bit of the next word, the next sector, a word less than 256 bytes "
        "or less than 64 KiB away, or anywhere, a fifth each, above or below",
        draw=_coupling,
    ),
    "intermittent": Kind(fault="intermittent", says=f"{_CELL}, wrong in {FREQUENT:.0%} of loads", draw=_intermittent),
    "retention": Kind(fault="retention", says=f"{_CELL} that holds for 1 to 31 ms (log-uniform)", draw=_retention),
    "retention_warm": Kind(
        fault="retention",
        says=f"the same only above a temperature {HEATED[0]:.0%} to {HEATED[1]:.0%} of the way from that of the idle "
        "card to that of the die under long arithmetic",
        draw=_retention_warm,
    ),
}
KINDS: Mapping[str, Kind] = {
    **_PLAIN,
    "intermittent_rare": Kind(
        fault="intermittent", says=f"{_CELL}, wrong in {RARE:.1%} of loads", draw=_intermittent_rare, only="deep"
    ),
    "intermittent_warm": Kind(
        fault="intermittent",
        says=f"{_CELL}, wrong in {WARM:.0%} of loads above a temperature as for retention_warm",
        draw=_intermittent_warm,
    ),
    "coupling_twice": Kind(
        fault="coupling",
        says="as coupling, but two changes in a row are needed, while nobody stores the victim",
        draw=_coupling_twice,
    ),
    "neighbourhood": Kind(
        fault="neighbourhood",
        says=f"{_CELL}, wrong while {', '.join(map(str, REACHES))} bits on either side are all opposite, a fourth each",
        draw=_neighbourhood,
    ),
    "stripes": Kind(
        fault="stripes",
        says=f"{_CELL}, wrong while it and three neighbours on either side alternate, {', '.join(map(str, APART))} "
        "bits apart, an eighth each",
        draw=_stripes,
    ),
    "copy_engine": Kind(
        fault="copy_engine",
        says="any bit of each so many-th word that is copied within the card: the 2000th to a fourth of all",
        draw=_copy_engine,
        ecc=None,
    ),
    "refresh_lost": Kind(
        fault="refresh_lost",
        says="512 bytes to 256 KiB (powers of two) that hold for 0.1 to 5 s (log-uniform)",
        draw=_refresh_lost,
    ),
    "refresh_lost_warm": Kind(
        fault="refresh_lost", says="the same only above a temperature as for retention_warm", draw=_refresh_lost_warm
    ),
    "refresh_lost_idle": Kind(fault="refresh_lost", says="the same only while the card idles", draw=_refresh_lost_idle),
    "alias": Kind(fault="alias", says="32 bytes to 64 KiB (powers of two), from anywhere to anywhere", draw=_alias),
    "fake_memory": Kind(fault="fake_memory", says="1, 2 or 3 MiB that say they are 4", draw=_fake_memory, vram_mib=4),
    "stuck_bit_path": Kind(
        fault="stuck_bit", says=f"{_CELL} stuck behind ECC, which is as the model ships", draw=_stuck_path, ecc=None
    ),
    "transition_path": Kind(
        fault="transition",
        says=f"{_CELL} that cannot rise, or cannot fall, behind ECC, which is as the model ships",
        draw=_transition_path,
        ecc=None,
    ),
    **{f"{name}_ecc": structs.replace(kind, says=f"{name}, under ECC", ecc=True) for name, kind in _PLAIN.items()},
}
"""Every kind of this bench, by name."""


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one fault of a kind."""
    return drawn.planted(name, KINDS[name], seed)


# What must be told of them

_WITHOUT_ECC: Mapping[type[Fault], str] = {
    StuckBit: "memory.hard",
    Transition: "memory.hard",
    Dq: "memory.data_line",
    Coupling: "memory.coupling",
    Intermittent: "memory.intermittent",
    Retention: "memory.retention",
    RefreshLost: "memory.retention",
    Neighbourhood: "memory.hard",
    CopyEngine: "memory.path",
    Alias: "memory.alias",
    FakeMemory: "identity.memory",
}
_SEEN_WITH_ECC = (Alias, FakeMemory, CopyEngine)
"""The right data of the wrong address, or data that were wrong before they were stored: ECC knows nothing of either."""
_CORRECTED, _UNCORRECTED = "memory.ecc_corrected", "memory.ecc_uncorrected"


def expected(card: Scenario) -> frozenset[str]:
    """The diagnoses that are right for the one memory fault of a card; each of them by itself is enough."""
    (fault,) = card.faults
    if isinstance(fault, Stripes) and not card.ecc_on:
        return frozenset({"memory.hard", "memory.coupling"})  # some neighbours are in other words, which must change
    if isinstance(fault, StuckBit | Transition) and fault.above_ecc:
        return frozenset({"memory.path" if card.ecc_on else "memory.hard"})
    if not card.ecc_on or isinstance(fault, _SEEN_WITH_ECC):
        return frozenset({_WITHOUT_ECC[type(fault)]})
    if isinstance(fault, RefreshLost):
        return frozenset({_CORRECTED, _UNCORRECTED})
    if isinstance(fault, Dq) and card.silicon.memory.channel_bits < 8 * WORD_BYTES:
        # several beats of a word cross the wire, of which one or more go wrong
        return frozenset({_UNCORRECTED} if fault.probability == 1 else {_CORRECTED, _UNCORRECTED})
    return frozenset({_CORRECTED})


def expected_kinds(card: Scenario) -> frozenset[str]:
    """The kinds of wrong words that are right for the one memory fault of a card."""
    return frozenset(code.removeprefix("memory.") for code in expected(card)) | (
        {"alias"} if card.of(FakeMemory) else set()
    )


def besides(card: Scenario) -> frozenset[str]:
    """What else is true of a card: that ECC, with which its model ships, is off."""
    switched_off = card.ecc_on is False and card.silicon.memory.ecc_as_shipped
    return frozenset({"config.ecc"} if switched_off else ())
