"""What is asked of a run: the card, the plan, the seed and what a person stated; all that is needed to run it again."""

import hashlib
from pathlib import Path

from msgspec import Struct

from gpucert.record import Inspection
from gpucert.run.plan import PlannedRun

LARGEST_SEED = 2**53 - 1
"""Because a record's seed stands in JSON, whose readers may hold numbers as doubles."""


class RunRequest(Struct, frozen=True, kw_only=True):
    """One run on one card. Exactly one of `gpu` and `scenario` names the card."""

    plan: PlannedRun
    folder: Path
    """Where the files of this card go; made when missing, and must not hold a run already."""
    gpu: str = ""
    """Index, UUID or bus id of a real card."""
    scenario: str | None = None
    """The text of the scenario of a virtual card."""
    source: str = ""
    """What errors call the scenario: a file or a built-in name."""
    seed: int | None = None
    """None draws one for a real card and derives one from the scenario's text for a virtual one."""
    inlet_c: float | None = None
    inspection: tuple[Inspection, ...] = ()


class RequestError(ValueError):
    """A run cannot be asked for like this; the text says why."""


def verify(request: RunRequest) -> None:
    """Refuse a request that names no card, two cards, no step or a seed that JSON cannot hold. Raises RequestError."""
    if bool(request.gpu) == (request.scenario is not None):
        raise RequestError("a run needs either a GPU or a scenario")
    if not request.plan.steps:
        raise RequestError(f"plan {request.plan.run.name}: a plan without steps tests nothing")
    if request.seed is not None and not 0 <= request.seed <= LARGEST_SEED:
        raise RequestError(f"seed {request.seed}: must be between 0 and {LARGEST_SEED}")


def step_seed(seed: int, index: int) -> int:
    """The seed of one step, 63 bits: the first 8 bytes of SHA-256 over "seed:index", so that no two steps share one."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
