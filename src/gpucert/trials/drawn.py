"""Cards drawn from a seed: a kind of fault and a seed are one scenario.

Everything about a card is drawn from its kind and seed alone, so that a seed in a table is a card that anyone can have.
"""

import json
import random
from collections.abc import Callable

from msgspec import Struct

from gpucert.catalogue import shelf
from gpucert.device.simulated.scenario import Scenario, parse
from gpucert.device.simulated.silicon import Silicon, silicon
from gpucert.stress.backend import WORD_BYTES

HBM = ("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Tesla V100-SXM2-32GB")
GDDR = ("NVIDIA A10", "Tesla T4", "NVIDIA L4", "NVIDIA GeForce RTX 3090")
"""Even seeds are of HBM, odd ones of GDDR; where ECC must be on, of those that have it."""
AT_AN_EDGE = 0.1
"""How often a fault lies in the first or the last word, where a loop that is one short would miss it."""
HEATED = (0.3, 0.9)
"""How warm a card must be to fail, as a share of its way from idling to long arithmetic at full power."""

Field = int | float | str | bool
Fields = dict[str, Field]


class Ground(Struct, frozen=True):
    """What a fault is drawn on: a card that has none yet, and its luck."""

    card: Scenario
    luck: random.Random

    @property
    def silicon(self) -> Silicon:
        """What the card truly is."""
        return silicon(self.card)

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

    def only_warm(self) -> Fields:
        """Only above a temperature on the way from that of the idle card to that of long arithmetic."""
        card = self.silicon
        watts = card.idle_w, min(card.demand_w["fp32"], card.limit_w)
        idle, hot = (card.inlet_c + card.network.total_c_per_w * one for one in watts)
        return {"above_c": round(idle + self.luck.uniform(*HEATED) * (hot - idle), 1)}


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


def healthy(seed: int) -> str:
    """The scenario of a card without a fault, with ECC as its model ships."""
    return _card("healthy", seed, None, 1)


def planted(name: str, kind: Kind, seed: int) -> str:
    """The scenario of a card with one fault of a kind, which `--simulate` takes."""
    card = _card(name, seed, kind.ecc, kind.vram_mib)
    fields = kind.draw(Ground(parse(card, name), random.Random(f"{name}/{seed}")))  # noqa: S311  # no secrets
    return f'{card}\n[[fault]]\nkind = "{kind.fault}"\n' + lines(fields)


def _card(name: str, seed: int, ecc: bool | None, vram_mib: int) -> str:
    models: tuple[str, ...] = GDDR if seed % 2 else HBM
    if ecc:
        models = tuple(key for key in models if shelf.get(key).memory.ecc != "none")
    model = models[seed // 2 % len(models)]
    fields: Fields = {"model": model, "summary": f"{name} {seed}", "vram_mib": vram_mib, "seed": seed}
    if ecc is not None and shelf.get(model).memory.ecc != "none":
        fields["ecc"] = ecc
    return lines(fields)


def lines(fields: Fields) -> str:
    """As TOML: numbers, truth values and plain strings are written as in JSON."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())
