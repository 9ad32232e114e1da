"""Rules of measures whose right value is known whatever the model, read from `limits.toml`."""

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from gpucert.catalogue.model import Model
from gpucert.record import Settings
from gpucert.units import Unit

OWN = "gpucert policy"

Part = Literal[
    "ecc", "row_remapping", "page_retirement", "inforom",
    "tensor", "tensor_bf16", "tensor_tf32", "tensor_int8", "tensor_fp64",
    "fp64", "tf32", "fp16", "bf16", "int8", "fp8",
]  # fmt: skip


FIRST_CAPABILITY = {"tensor": 7.0, "tensor_int8": 7.2, "tensor_bf16": 8.0, "tensor_tf32": 8.0, "tensor_fp64": 8.0}
"""Of the types that tensor cores multiply: the compute capability from which on known answers can be asked of them."""


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one measure must be; the head of `limits.toml` explains the fields. At most one bound is given."""

    unit: Unit
    says: str = ""
    at_most: float | None = None
    at_least: float | None = None
    equals: str | None = None
    gate: Literal["coverage"] | None = None
    model: Literal["sm_count", "bus_bits", "memory"] | None = None
    part: Part | None = None
    proof: bool = False
    needed: bool = True
    advisory: bool = False

    @property
    def told(self) -> bool:
        """Whether the value is only shown."""
        return (self.at_most, self.at_least, self.equals, self.gate, self.model) == (None,) * 5


class RulesError(ValueError):
    """A file of rules cannot be used; the text names the file, the measure and the remedy."""


@cache
def shipped() -> dict[str, Rule]:
    """The rules that come with this version, by `probe.measure`."""
    return parse(files("gpucert.verdict").joinpath("limits.toml").read_text(encoding="utf-8"), "limits.toml")


def parse(text: str, source: str) -> dict[str, Rule]:
    """Read rules from TOML; `source` names them in errors. Raises RulesError."""
    try:
        tables = msgspec.toml.decode(text)
        tables.pop("version", None)
        rules = msgspec.convert(tables, dict[str, Rule])
    except msgspec.DecodeError as error:
        raise RulesError(f"{source}: {error}") from error
    for measure, rule in rules.items():
        bounds = (rule.at_most, rule.at_least, rule.equals, rule.gate, rule.model)
        if sum(bound is not None for bound in bounds) > 1:
            raise RulesError(f"{source}: {measure} has more than one bound; keep one")
        if not rule.told and not rule.says:
            raise RulesError(f"{source}: {measure}.says is missing: say what a value outside means")
    return rules


def has_part(part: Part | None, model: Model | None, settings: Settings) -> bool | None:
    """Whether a card of this model, with these settings, has the part; None where nobody knows."""
    if part is None:
        return True
    if part == "ecc":
        return (
            settings.ecc if isinstance(settings.ecc, bool) else (None if model is None else model.memory.ecc_as_shipped)
        )
    if model is None:
        return None
    match part:
        case "row_remapping":
            return model.memory.row_remapping
        case "page_retirement":
            return model.memory.page_retirement
        case "tensor" | "tensor_bf16" | "tensor_tf32" | "tensor_int8" | "tensor_fp64":
            return model.has_tensor_cores and float(model.compute_capability) >= FIRST_CAPABILITY[part]
        case "inforom":
            return None
        case "fp64" | "tf32" | "fp16" | "bf16" | "int8" | "fp8":
            peak: float | None = getattr(model.peak, part)
            return peak is not None
