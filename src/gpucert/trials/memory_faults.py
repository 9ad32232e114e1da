"""Memory faults drawn from a seed: a kind and a seed are one scenario, with the diagnoses that it must end with.

Everything about a card is drawn from its kind and seed alone, so that a seed in a table is a card that anyone can have.
"""

import json
import random
from collections.abc import Callable, Mapping

from msgspec import Struct, structs

from gpucert.catalogue import shelf
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
from gpucert.device.simulated.scenario import Scenario, parse
from gpucert.device.simulated.silicon import silicon
from gpucert.stress.backend import WORD_BYTES

HBM = ("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Tesla V100-SXM2-32GB")
GDDR = ("NVIDIA A10", "Tesla T4", "NVIDIA L4", "NVIDIA GeForce RTX 3090")
"""Even seeds are of HBM, odd ones of GDDR; where ECC must be on, of those that have it."""
FREQUENT, RARE = 0.02, 0.001
"""Of each load: a cell that a scan of minutes meets, and one that only many re-reads meet."""
AT_AN_EDGE = 0.1
"""How often a fault lies in the first or the last word, where a loop that is one short would miss it."""
REACHES = (1, 2, 4, 31)
"""Bits on each side of a crowded cell: some patterns have few such neighbourhoods, and a lone bit has the widest."""
APART = (1, 2, 4, 16, 32, 64, 128, 256)
"""Bits between cells that are neighbours in the array, of which nobody publishes the wiring."""
HEATED = (0.3, 0.9)
"""How warm a memory must be to fail, as a share of its way from idling to long arithmetic at full power."""
WARM = 0.2
"""Of each load while it is that warm."""

Field = int | float | str | bool
Fields = dict[str, Field]


class Ground(Struct, frozen=True):
    """What a fault is drawn on: a card that has none yet, and its luck."""

    card: Scenario
    luck: random.Random

    @property
    def words(self) -> int:
        """Words of the tested memory."""
        return self.card.tested_bytes // WORD_BYTES

    def word(self) -> int:
        """Any word alike, but now and then the first or the last one."""
        if self.luck.random() < AT_AN_EDGE:
            return self.luck.choice((0, self.words - 1))
        return self.luck.randrange(self.words)

    def cell(self) -> Fields:
        """Any bit of any word."""
        return {"offset": self.word() * WORD_BYTES, "bit": self.luck.randrange(64)}

    def between(self, low: float, high: float) -> float:
        """Any value between, on a logarithmic scale: as often in one factor of ten as in the next."""
        return float(f"{low * (high / low) ** self.luck.random():.4g}")


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of planted fault."""

    fault: str
    """As scenarios name it."""
    says: str
    """What is drawn, in words."""
    draw: Callable[[Ground], Fields]
    ecc: bool | None = False
    """Whether ECC is on; None leaves it as each model ships."""
    vram_mib: int = 1
    """The smallest window that a scenario allows, because a scan takes as long as its window is large."""
    only: str = ""
    """The one profile that is expected to find it, where shorter ones are not asked."""


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
    return {**on.cell(), "probability": WARM, **_only_warm(on)}


def _retention(on: Ground) -> Fields:
    return {**on.cell(), "hold_ms": on.between(1, 31)}


def _retention_warm(on: Ground) -> Fields:
    return {**_retention(on), **_only_warm(on)}


def _only_warm(on: Ground) -> Fields:
    card = silicon(on.card)
    watts = card.idle_w, min(card.demand_w["fp32"], card.limit_w)
    idle, hot = (card.inlet_c + card.network.total_c_per_w * one for one in watts)
    return {"above_c": round(idle + on.luck.uniform(*HEATED) * (hot - idle), 1)}


def _refresh_lost(on: Ground) -> Fields:
    size = 1 << on.luck.randrange(9, 19)
    offset = on.luck.randrange(on.card.tested_bytes // size) * size
    return {"offset": offset, "bytes": size, "seconds": on.between(0.1, 5)}


def _refresh_lost_warm(on: Ground) -> Fields:
    return {**_refresh_lost(on), **_only_warm(on)}


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


class UnknownKindError(ValueError):
    """No kind of planted fault is called so; the text names those that there are."""


def kind_of(name: str) -> Kind:
    """The kind of this name. Raises UnknownKindError."""
    if name not in KINDS:
        raise UnknownKindError(f"no kind of planted fault is called {name!r}; there are {', '.join(KINDS)}")
    return KINDS[name]


def healthy(seed: int) -> str:
    """The scenario of a card without a fault, with ECC as its model ships."""
    return _card("healthy", seed, None, 1)


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one fault of a kind, which `--simulate` takes. Raises UnknownKindError."""
    kind = kind_of(name)
    card = _card(name, seed, kind.ecc, kind.vram_mib)
    fields = kind.draw(Ground(parse(card, name), random.Random(f"{name}/{seed}")))  # noqa: S311  # no secrets
    return f'{card}\n[[fault]]\nkind = "{kind.fault}"\n' + _lines(fields)


def _card(name: str, seed: int, ecc: bool | None, vram_mib: int) -> str:
    models: tuple[str, ...] = GDDR if seed % 2 else HBM
    if ecc:
        models = tuple(key for key in models if shelf.get(key).memory.ecc != "none")
    model = models[seed // 2 % len(models)]
    fields: Fields = {"model": model, "summary": f"{name} {seed}", "vram_mib": vram_mib, "seed": seed}
    if ecc is not None and shelf.get(model).memory.ecc != "none":
        fields["ecc"] = ecc
    return _lines(fields)


def _lines(fields: Fields) -> str:
    """As TOML: numbers, truth values and plain strings are written as in JSON."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


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
