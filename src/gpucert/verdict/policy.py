"""Policies: which tier asks for what, as data with a version and a hash; there are no expressions to evaluate."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gpucert.baselines import defaults
from gpucert.verdict import rules
from gpucert.verdict.verdict import Source

SHIPPED = "standard"

Count = Annotated[int, Meta(ge=0)]
Word = Annotated[str, Meta(min_length=1, max_length=80)]
Spare = Literal["high", "partial", "low", "none"]


class GlobalGates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every certificate asks for, whatever the tier."""

    coverage_percent: float
    coverage_spared_mib: Annotated[int, Meta(ge=0, le=4096)] = 0
    """What may stay untested in any case: driver and context keep about as much on a small card as on a large."""
    ecc_corrected_per_hour: Annotated[float, Meta(ge=0)]
    inlet_c: Annotated[float, Meta(ge=0, le=60)]
    probes: tuple[str, ...]
    """Probes without which no certificate is given; every plan for one must run them."""


class TierGates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tier asks for beyond the global gates. Absent fields ask for nothing."""

    letter: Literal["A", "B", "C", "D"]
    title: Word
    memory_gib: Count = 0
    hbm: bool = False
    nvlink: bool = False
    tensor_cores: bool = False
    fp64_half_rate: bool = False
    ecc_on: bool = False
    dtypes: tuple[Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8"], ...] = ()
    within: float
    """How much worse than the baseline's centre each measure may be, as a share."""
    reference_cards: Count = 0
    """How many reference cards must stand behind the baseline."""
    measures: tuple[str, ...]
    every_link_up: bool = False
    energy: bool = False
    spare_rows: tuple[Spare, ...] = ()
    """States of the row remapper that no bank may be in."""


class Policy(Struct, frozen=True, kw_only=True):
    """A policy, ready for judging. `letters` is true for the shipped one alone: tiers of any other are “custom”."""

    name: str
    version: int
    gates: GlobalGates
    tiers: tuple[TierGates, ...]
    sha256: str
    shipped: bool

    @property
    def source(self) -> Source:
        """The policy as verdicts name it."""
        return Source(self.name if self.shipped else f"custom {self.name}", self.version, self.sha256)


class _File(Struct, frozen=True, forbid_unknown_fields=True, rename={"gates": "global", "tiers": "tier"}):
    name: Word
    version: Annotated[int, Meta(ge=1)]
    gates: GlobalGates
    tiers: tuple[TierGates, ...]


class PolicyError(ValueError):
    """A policy cannot be used; the text names the file, the field and the remedy."""


@cache
def shipped() -> Policy:
    """The policy that comes with gpucert."""
    text = files("gpucert.verdict.policies").joinpath(f"{SHIPPED}.toml").read_text(encoding="utf-8")
    return _policy(text, f"policies/{SHIPPED}.toml", shipped=True)


def parse(text: str, source: str) -> Policy:
    """A policy of someone's own; `source` names it in errors. Raises PolicyError."""
    return _policy(text, source, shipped=False)


def _policy(text: str, source: str, *, shipped: bool) -> Policy:
    try:
        file = msgspec.toml.decode(text, type=_File)
    except msgspec.DecodeError as error:
        raise PolicyError(f"{source}: {error}") from error
    letters = [tier.letter for tier in file.tiers]
    if not letters or letters != sorted(set(letters)):
        raise PolicyError(f"{source}: tier: letters must be there once each, the best first, not {letters}")
    for tier in file.tiers:
        if not 0 <= tier.within < 1:
            raise PolicyError(
                f"{source}: tier {tier.letter}: within must be a share between 0 and 1, not {tier.within}"
            )
        unknown = [measure for measure in tier.measures if measure not in defaults.shipped().measures]
        if unknown:
            known = ", ".join(name for name in defaults.shipped().measures if not name.startswith("thermal."))
            raise PolicyError(
                f"{source}: tier {tier.letter}: measures: {unknown[0]!r} has no baseline; these have: {known}"
            )
        if not tier.measures:
            raise PolicyError(f"{source}: tier {tier.letter}: measures must name at least one, or nothing is asked for")
    probes = {name.partition(".")[0] for name in rules.shipped()}
    for probe in file.gates.probes:
        if probe not in probes:
            raise PolicyError(
                f"{source}: global.probes: no probe is called {probe!r}; there are {', '.join(sorted(probes))}"
            )
    if not file.gates.probes:
        raise PolicyError(f"{source}: global.probes must name at least one, or a certificate could rest on nothing")
    if not 0 < file.gates.coverage_percent <= 100:
        raise PolicyError(f"{source}: global.coverage_percent must be in (0, 100], not {file.gates.coverage_percent}")
    digest = hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(file), order="sorted")).hexdigest()
    return Policy(
        name=file.name, version=file.version, gates=file.gates, tiers=file.tiers, sha256=digest, shipped=shipped
    )
