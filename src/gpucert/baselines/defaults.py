"""What is assumed of each measure before any reference card was measured, read from `data/_defaults.toml`."""

import math
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gpucert.baselines.shrink import Prior
from gpucert.units import Unit

Share = Annotated[float, Meta(gt=0, lt=1)]
Worth = Annotated[float, Meta(gt=0, le=1000)]
"""Worth in cards."""


class BaselineDataError(ValueError):
    """A file of the baselines cannot be used; the text names the file, the field and the remedy."""


class MeasureClass(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The prior and the rule that one kind of measure shares; `shrink` explains the fields of the prior."""

    s0: Share
    t0: Share
    nu0: Worth
    defective: Share
    reach: Share
    floor: Share | None = None
    """The engineering floor: a limit is never further below the centre than this, for a centre known to t0."""
    advises_below: Annotated[int, Meta(ge=0)] = 0
    """With fewer reference cards its limits only advise: they cost no certificate."""
    limits_from: Annotated[int, Meta(ge=0)] = 0
    """With fewer reference cards it has no limits: its centre gives a scale, and nothing to judge by."""
    sources: tuple[str, ...]

    def prior(self, t: float) -> Prior:
        """The prior where the centre is known to t, a relative standard uncertainty."""
        return Prior(s0=self.s0, t0=max(self.t0, t), nu0=self.nu0, defective=self.defective, reach=self.reach)

    def floor_for(self, t: float) -> float | None:
        """The floor, as much wider as the centre is known less well than t0; never half of the centre.

        Where only reference cards make a limit, they make its centre too, and the floor is as it stands.
        """
        if self.floor is None or self.limits_from:
            return self.floor
        return min(self.floor * max(1.0, t / self.t0), 0.5)


class MeasureRule(Struct, frozen=True, forbid_unknown_fields=True, rename={"of": "class"}):
    """One measure: its class, the unit of its limits, and which side is better."""

    of: str
    unit: Unit
    better: Literal["higher", "lower"]

    @property
    def sign(self) -> int:
        """Turns log ratios so that worse is below zero."""
        return 1 if self.better == "higher" else -1


class Defaults(Struct, frozen=True, forbid_unknown_fields=True, rename={"classes": "class", "measures": "measure"}):
    """All of them."""

    version: Annotated[int, Meta(ge=1)]
    budget: Share
    """The share of healthy cards that may fail any of the limits of their model."""
    advice: Share
    """The share of healthy cards that a limit which only advises may point at."""
    sources: tuple[str, ...]
    classes: dict[str, MeasureClass]
    measures: dict[str, MeasureRule]

    def share(self, limits: int) -> float:
        """The budget's share of each of so many limits: q = 1 − (1 − budget)^(1/m), after Šidák (1967)."""
        return -math.expm1(math.log1p(-self.budget) / limits)

    def rule(self, measure: str) -> tuple[MeasureRule, MeasureClass]:
        """Rule and class of a measure. Raises KeyError for one that has none."""
        rule = self.measures[measure]
        return rule, self.classes[rule.of]


def parse(text: str, source: str) -> Defaults:
    """Read defaults from TOML; `source` names them in errors. Raises BaselineDataError."""
    try:
        defaults = msgspec.toml.decode(text, type=Defaults)
    except msgspec.DecodeError as error:
        raise BaselineDataError(f"{source}: {error}") from error
    for measure, rule in defaults.measures.items():
        if rule.of not in defaults.classes:
            raise BaselineDataError(f"{source}: measure.{measure}.class is {rule.of!r}, which [class] does not define")
    return defaults


@cache
def shipped() -> Defaults:
    """The defaults that come with this version."""
    file = files("gpucert.baselines") / "data" / "_defaults.toml"
    return parse(file.read_text("utf-8"), file.name)
