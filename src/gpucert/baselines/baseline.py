"""The baseline of a model: its limits, from reference cards where there are some, else from its specification."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from gpucert.baselines import defaults as defaults_module
from gpucert.baselines import reference, shrink
from gpucert.baselines.defaults import Defaults, MeasureClass, MeasureRule
from gpucert.baselines.limit import Baseline, Limit
from gpucert.baselines.reference import References
from gpucert.baselines.shrink import Fit
from gpucert.catalogue.model import Model

DIGITS = 6
"""Limits are rounded to these significant digits, so that their hash is the same on every machine."""
SLOW_OF_REST = 0.6
"""Share of what follows the first second that comes after the tenth: 0.7 of the rest on its way into the air with a
time constant of 55 s (two V100: 37 and 46 s), 0.3 in the cold plate with 4 s (four cards: 3.1 to 4.6 s)."""
UNKNOWN_CLOCK = 0.5
"""Relative: a card that its power limit holds sustains anything from a third of the clock of its peak upward."""
DTYPES = ("fp64", "fp32", "tf32", "fp16", "bf16", "int8")
ON_TENSOR_CORES = ("tf32", "fp16", "bf16", "int8")
STREAMS = ("read", "write", "copy")
_ACHIEVED = "achieved by cards of this architecture"
_ESTIMATED = "estimated from what related types or cards achieve"


class Centre(Struct, frozen=True):
    """Where healthy cards are expected before any was measured, and its relative standard uncertainty."""

    measure: str
    value: float
    u: float
    source: str
    ceiling: float | None = None
    """The specification itself, where the centre is a share of it."""


def for_model(model: Model, learned: References | None = None, *, kernel: str | None = None) -> Baseline:
    """The baseline of a model: that of this version, or by the reference cards that someone learned.

    `kernel` is the version that the rates to be judged were measured with: our reference cards of another one are left
    out, and then the prior judges. Raises BaselineDataError when a file of ours cannot be used.
    """
    defaults = defaults_module.shipped()
    references = reference.of_model(model.key, defaults) if learned is None else learned
    if learned is None and kernel is not None:
        references = references.for_kernel(kernel)
    return build(model, defaults, references, shipped=learned is None)


def build(model: Model, defaults: Defaults, references: References, *, shipped: bool = True) -> Baseline:
    """The baseline that follows from a model, the defaults and its reference cards."""
    known = (_fitted(centre, defaults, references) for centre in centres(model))
    fitted = [one for one in known if one.n >= one.of.limits_from]
    shared = defaults.share(max(sum(not one.advises for one in fitted), 1))
    limits = tuple(_limit(one, defaults.advice if one.advises else shared) for one in fitted)
    version = defaults.version + references.version
    content = msgspec.json.encode((model.key, version, limits), order="sorted")
    digest = hashlib.sha256(content).hexdigest()
    return Baseline(model=model.key, version=version, limits=limits, sha256=digest, shipped=shipped)


def centres(model: Model) -> tuple[Centre, ...]:
    """What healthy cards of this model should measure, for each measure that the catalogue knows enough for."""
    return (*_gemm(model), *_memory(model), *_raw(model), *_thermal(model))


def _gemm(model: Model) -> Iterator[Centre]:
    """FLOP/clk/SM, of INT8 OP/clk/SM = peak / (SMs × clock of that peak) × share that is achieved."""
    for dtype in DTYPES:
        peak: float | None = getattr(model.peak, dtype)
        share: float | None = getattr(model.achieved, dtype)
        if peak is None or share is None:
            continue
        spec = peak * 1e6 / (model.sm_count * _clock_mhz(model, dtype))
        unit, u = "OP/clk/SM" if dtype == "int8" else "FLOP/clk/SM", model.achieved.u(dtype)
        how = _ACHIEVED if u == model.achieved.u_gemm else _ESTIMATED
        yield _of_spec(f"gemm_sustained.{dtype}_per_clock", spec, share, u, unit, how)


def _clock_mhz(model: Model, dtype: str) -> int:
    """The clock of the peak of a type."""
    return (model.peak.tensor_clock_mhz if dtype in ON_TENSOR_CORES else None) or model.peak.clock_mhz


def _memory(model: Model) -> Iterator[Centre]:
    """B/clk = 2 × bus / 8 × share that is achieved, per memory clock; a copy counts reads and writes."""
    for stream in STREAMS:
        share: float = getattr(model.achieved, f"memory_{stream}")
        spec = model.memory.bytes_per_clock
        yield _of_spec(f"memory_bandwidth.{stream}_per_clock", spec, share, model.achieved.u_memory, "B/clk")


def _raw(model: Model) -> Iterator[Centre]:
    """The same rates per second: at the clock of the peak, from which power and heat keep most loads; or of memory."""
    to_tflop = {f"gemm_sustained.{dtype}": model.sm_count * _clock_mhz(model, dtype) / 1e6 for dtype in DTYPES}
    for one in _gemm(model):
        of = one.measure.removesuffix("_per_clock")
        yield Centre(f"{of}_rate", one.value * to_tflop[of], UNKNOWN_CLOCK, f"{one.source}, at the clock of the peak")
    to_gbyte = model.memory.clock_mhz / 1000
    for one in _memory(model):
        of = one.measure.removesuffix("_per_clock")
        yield Centre(of, one.value * to_gbyte, one.u, f"{one.source}, at the highest clock", model.memory.peak_gb_s)


def _of_spec(measure: str, spec: float, share: float, u: float, unit: str, how: str = _ACHIEVED) -> Centre:
    source = f"prior: {spec:.4g} {unit} by specification × {share:g} {how} (± {u:.0%})"
    return Centre(measure, spec * share, u, source, spec)


def _thermal(model: Model) -> Iterator[Centre]:
    """The healthy resistances that the catalogue estimates."""
    how = "prior derived from temperature limit, board power and published step responses"
    fast, total = model.thermal.fast_c_per_w, model.thermal.total_c_per_w
    yield Centre("thermal.fast", fast, 0.0, how)
    yield Centre("thermal.slow", SLOW_OF_REST * (total - fast), 0.0, how)
    yield Centre("thermal.total", total, 0.0, how)


@dataclass(frozen=True)
class _Fitted:
    """A centre with what its reference cards say of it."""

    centre: Centre
    rule: MeasureRule
    of: MeasureClass
    fit: Fit
    source: str

    @property
    def n(self) -> int:
        """Reference cards that count as evidence."""
        return sum(weight >= shrink.SUSPECT for weight in self.fit.weights)

    @property
    def advises(self) -> bool:
        """Whether they are too few for a limit that costs a certificate."""
        return self.n < self.of.advises_below


def _fitted(centre: Centre, defaults: Defaults, references: References) -> _Fitted:
    """Shrink the reference cards towards the centre; worse is below it, so the sign turns where lower is better."""
    rule, of = defaults.rule(centre.measure)
    measured = references.measures.get(centre.measure)
    values = [rule.sign * math.log(card.value / centre.value) for card in measured.cards] if measured else []
    source = measured.source if measured and values else centre.source
    return _Fitted(centre, rule, of, shrink.fit(values, of.prior(centre.u)), source)


def _limit(one: _Fitted, q: float) -> Limit:
    centre, sign = one.centre, one.rule.sign
    worst = shrink.limit(one.fit, q, one.of.floor_for(centre.u))
    return Limit(
        measure=centre.measure,
        unit=one.rule.unit,
        better=one.rule.better,
        centre=_rounded(centre.value * math.exp(sign * one.fit.mu)),
        limit=_rounded(centre.value * math.exp(sign * worst)),
        n=one.n,
        q=_rounded(q),
        advises=one.advises,
        source=one.source,
        ceiling=None if centre.ceiling is None else _rounded(centre.ceiling),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
