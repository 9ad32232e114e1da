"""What `gpucert inspect` tells of a card: its readings, and what speaks against it, without any load."""

from typing import TYPE_CHECKING

from msgspec import Struct

from gpucert.capture import Capture, LoggedXid
from gpucert.outcome import ExitCode, Outcome, VerdictOutcome
from gpucert.reading import Reading
from gpucert.record import Counters, Identity, Process, Sample, Settings
from gpucert.verdict.verdict import Diagnosed, Finding

if TYPE_CHECKING:
    from gpucert.catalogue.matching import Match


class Look(Struct, frozen=True, kw_only=True):
    """One card of one document, judged by what it says of itself."""

    source: str
    document: int
    card: str
    bus_id: str
    model: str | None
    """Key of the catalogue; else the name that the card answers, unless its ids belie it."""
    graded: bool
    """Whether the catalogue has the model: without it there is no performance to expect."""
    model_reason: str
    driver: str | None
    outcome: VerdictOutcome
    """`reported` when nothing was found, `not_certified` when something was."""
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosed, ...]
    notes: tuple[str, ...]
    exit_code: ExitCode
    identity: Identity
    settings: Settings
    counters: Counters
    sample: Sample
    processes: Reading[tuple[Process, ...]]
    log: tuple[LoggedXid, ...]

    @property
    def found(self) -> bool:
        """Whether anything speaks against the card or its station."""
        return self.exit_code is ExitCode.NOT_CERTIFIED


class Looks(Struct, frozen=True, kw_only=True):
    """All cards of one call, as `--json` prints them."""

    cards: tuple[Look, ...]
    unreadable: tuple[str, ...] = ()
    """One line for each file that holds no capture."""
    exit_code: ExitCode


def sum_up(cards: tuple[Look, ...], unreadable: tuple[str, ...]) -> Looks:
    """The object that `--json` prints. A file that could not be read decides the exit code."""
    from gpucert.outcome import worst

    code = ExitCode.USAGE if unreadable else worst(card.exit_code for card in cards)
    return Looks(cards=cards, unreadable=unreadable, exit_code=code)


def judge(capture: Capture) -> Look:
    """Match the model and judge what the capture states."""
    from gpucert.catalogue import shelf
    from gpucert.cli.glance import judge_glance
    from gpucert.verdict.facts import judge_facts

    identity = capture.identity
    match = shelf.match(
        name=_known(identity.name),
        device=_known(identity.pci_device),
        subvendor=_known(identity.pci_subvendor),
        subdevice=_known(identity.pci_subdevice),
        memory_mib=identity.memory_mib if isinstance(identity.memory_mib, int) else None,
        cuda_cores=None,
    )
    judged, glanced = judge_facts(identity, capture.settings, capture.counters, match), judge_glance(capture)
    findings = (*judged[0], *glanced[0])
    diagnoses = _each_once(judged[1], glanced[1])
    found = _speaks_against(findings, diagnoses)
    return Look(
        source=capture.source,
        document=capture.document,
        card=identity.card_id,
        bus_id=str(identity.bus_id),
        model=_model(match, identity.name),
        graded=match.model is not None,
        model_reason=match.reason,
        driver=_known(identity.driver),
        outcome=VerdictOutcome.NOT_CERTIFIED if found else VerdictOutcome.REPORTED,
        findings=findings,
        diagnoses=diagnoses,
        notes=capture.notes,
        exit_code=ExitCode.NOT_CERTIFIED if found else ExitCode.RESTRICTED,
        identity=identity,
        settings=capture.settings,
        counters=capture.counters,
        sample=capture.sample,
        processes=capture.processes,
        log=capture.log,
    )


def _model(match: "Match", name: Reading[str]) -> str | None:
    if match.model is not None:
        return match.model.key
    return None if match.name_agrees is False else _known(name)


def _speaks_against(findings: tuple[Finding, ...], diagnoses: tuple[Diagnosed, ...]) -> bool:
    """A diagnosis that is more than a note, or a finding that failed and is more than advice."""
    failed = any(one.outcome in {Outcome.FAIL, Outcome.ERROR} and not one.advisory for one in findings)
    return failed or any(one.subject != "note" for one in diagnoses)


def _known(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _each_once(judged: tuple[Diagnosed, ...], glanced: tuple[Diagnosed, ...]) -> tuple[Diagnosed, ...]:
    """One diagnosis of a code from the glance, and none where the counters already told it."""
    told = {one.code for one in judged}
    first: dict[str, Diagnosed] = {}
    for one in glanced:
        if one.code not in told:
            first.setdefault(one.code, one)
    return (*judged, *first.values())
