"""Judging and issuing, as functions on the folder of one card: what certify, judge and issue have in common."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from gpucert import record as records
from gpucert.baselines import baseline as baselines
from gpucert.baselines.limit import Baseline
from gpucert.baselines.reference import References
from gpucert.catalogue import shelf
from gpucert.catalogue.model import Model
from gpucert.cli.console import ProblemError
from gpucert.cli.matching import match
from gpucert.cli.rules import RuleFiles, Rules, kept
from gpucert.outcome import ExitCode
from gpucert.record import Identity, PlanRun, Record, UnreadableRecordError
from gpucert.run import journal, whole_file
from gpucert.store.ledger import Ledger, LedgerError, NewAttempt, NewJudgement, default_path, open_ledger
from gpucert.verdict.candidate import kernel_of
from gpucert.verdict.judge import judge
from gpucert.verdict.verdict import SCHEMA, Verdict


@dataclass(frozen=True)
class CardFolder:
    """Where the files of one card's run lie."""

    path: Path

    @property
    def record(self) -> Path:
        """The facts."""
        return self.path / "record.json"

    @property
    def verdict(self) -> Path:
        """The judgement."""
        return self.path / "verdict.json"

    @property
    def certificate(self) -> Path:
        """The page."""
        return self.path / "certificate.html"

    def files(self) -> dict[str, str]:
        """The files that exist, by the names that `--json` gives them."""
        named = {
            "record": self.record,
            "journal": self.path / "journal.jsonl",
            "telemetry": self.path / "telemetry.csv",
            "verdict": self.verdict,
            "certificate": self.certificate,
        }
        return {name: str(path) for name, path in named.items() if path.exists()}


@dataclass(frozen=True)
class Judged:
    """A record with its judgement and what the judgement rests on."""

    record: Record
    record_sha256: str
    verdict: Verdict
    model: Model | None
    baseline: Baseline | None

    @property
    def verdict_sha256(self) -> str:
        """Digest of the bytes of verdict.json."""
        return hashlib.sha256(records.encode(self.verdict)).hexdigest()


def card_folder(path: Path) -> CardFolder:
    """The folder of one card: this one, or the only card's folder inside it. Raises ProblemError."""
    if path.is_file() and path.name == "record.json":
        path = path.parent
    if (path / "record.json").is_file():
        return CardFolder(path)
    inside = sorted(one.parent for one in path.glob("*/record.json"))
    if len(inside) == 1:
        return CardFolder(inside[0])
    if not inside:
        raise ProblemError(f"{path}: no record.json here; name the folder of a run")
    raise ProblemError(f"{path}: holds {len(inside)} cards; name the folder of one of them")


def keep_rules(folder: CardFolder, files: RuleFiles) -> None:
    """Put rules of someone's own beside the run, so that a run that goes on is judged by them. Raises ProblemError."""
    for name, data in kept(files).items():
        write(folder.path / name, data)


def judge_file(path: Path, rules: Rules) -> Judged:
    """Judge a record by these rules. Raises ProblemError."""
    data, record = _read_record(path)
    matched = match(record.card)
    baseline = _baseline(path, record, matched.model, rules.references)
    digest = hashlib.sha256(data).hexdigest()
    verdict = judge(record, record_sha256=digest, match=matched, baseline=baseline, policy=rules.policy)
    return Judged(record, digest, verdict, matched.model, _as_judged(baseline, verdict))


def _baseline(path: Path, record: Record, model: Model | None, learned: References | None) -> Baseline | None:
    """The baseline of a model, learned or shipped; one of another model, kind of card or kernels is refused."""
    if model is None:
        return None
    if learned is not None and learned.model != model.key:
        raise ProblemError(f"{path}: the card is a {model.key!r}, the baseline is of {learned.model!r}")
    if learned is not None and learned.simulated and not record.simulated:
        raise ProblemError(f"{path}: a baseline of virtual cards judges no real one; learn one from real cards")
    kernel = kernel_of(record)
    if learned is not None and learned.kernel != kernel:
        mixed = f"measured with kernels of version {kernel}, the baseline of {learned.model} with {learned.kernel}"
        raise ProblemError(f"{path}: {mixed}; learn one from records of the same version, or judge without it")
    return _shipped(model.key, kernel) if learned is None else baselines.for_model(model, learned)


@lru_cache(maxsize=256)
def _shipped(key: str, kernel: str) -> Baseline:
    """The baseline of this version, kept for the next record of the same kind."""
    return baselines.for_model(shelf.get(key), kernel=kernel)


def judged_before(folder: CardFolder, rules: Rules) -> Judged:
    """The record of a folder with the verdict that lies beside it, which must be what judging makes of it today.

    Raises ProblemError where the verdict was made of another record, by other limits, or by hand.
    """
    verdict = read_verdict(folder.verdict)
    judged = judge_file(folder.record, rules)
    again = f"judge it again: gpucert judge {folder.path}"
    if verdict.record_sha256 != judged.record_sha256:
        raise ProblemError(f"{folder.record}: was changed after it was judged; {again}")
    if verdict.policy != judged.verdict.policy:
        raise ProblemError(f"{folder.verdict}: judged by policy {verdict.policy.name!r}; name its file with --policy")
    if verdict.baseline != judged.verdict.baseline:
        raise ProblemError(f"{folder.verdict}: judged by another baseline; name its file with --baseline, or {again}")
    if verdict != judged.verdict:
        raise ProblemError(f"{folder.verdict}: is not what today's limits make of the record; {again}")
    return judged


def _as_judged(baseline: Baseline | None, verdict: Verdict) -> Baseline | None:
    """The baseline, if it is the one that the verdict rests on: a page must not show other limits than were applied."""
    return baseline if baseline is not None and baseline.sha256 == verdict.baseline.sha256 else None


def _read_record(path: Path) -> tuple[bytes, Record]:
    try:
        data = path.read_bytes()
        return data, records.decode(data, str(path))
    except OSError as error:
        raise ProblemError(f"{path}: {error.strerror}") from error
    except UnreadableRecordError as error:
        raise ProblemError(str(error)) from error


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def read_verdict(path: Path) -> Verdict:
    """A verdict.json. Raises ProblemError."""
    try:
        verdict = msgspec.json.decode(path.read_bytes(), type=Verdict)
    except OSError as error:
        raise ProblemError(f"{path}: {error.strerror}; judge the record first: gpucert judge {path.parent}") from error
    except msgspec.DecodeError as error:
        raise ProblemError(f"{path}: not a verdict of this version: {error}; judge the record again") from error
    if verdict.schema != SCHEMA:
        raise ProblemError(f"{path}: schema is {verdict.schema!r}, this version reads {SCHEMA!r}; judge it again")
    return verdict


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, safe against power cuts. Raises ProblemError."""
    try:
        whole_file.write(path, data)
    except OSError as error:
        remedy = "make room or give access; `gpucert certify --resume FOLDER` goes on with a run"
        raise ProblemError(f"{path}: {error.strerror}; {remedy}", ExitCode.INCOMPLETE) from error


def now() -> str:
    """The present in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_store(path: Path | None) -> Ledger:
    """The ledger in this file, or the user's own. Raises ProblemError."""
    try:
        return open_ledger(path or default_path())
    except LedgerError as error:
        raise ProblemError(str(error), ExitCode.INCOMPLETE) from error


def began(ledger: Ledger, folder: CardFolder) -> None:
    """Add the attempt that a folder's journal tells of, before anything else is known of it. Raises ProblemError."""
    start = journal.parse((folder.path / journal.NAME).read_bytes(), str(folder.path / journal.NAME)).start
    _begin(ledger, folder, start.card, start.plan.run, start.at, start.gpucert, simulated=start.simulated)


def _begin(
    ledger: Ledger, folder: CardFolder, card: Identity, plan: PlanRun, at: str, version: str, *, simulated: bool
) -> int:
    attempt = NewAttempt(
        card_id=card.card_id,
        serial=_text(card.serial),
        name=str(card.name),
        simulated=simulated,
        plan=plan.name,
        started_at=at,
        folder=str(folder.path.resolve()),
        gpucert=version,
    )
    try:
        return ledger.begin(attempt)
    except LedgerError as error:
        raise ProblemError(str(error), ExitCode.INCOMPLETE) from error


def note_in_ledger(ledger: Ledger, folder: CardFolder, judged: Judged) -> tuple[int, str]:
    """Add a judgement to the ledger; the attempt's number and the date of the card's first. Raises ProblemError."""
    record, verdict = judged.record, judged.verdict
    version = record.versions.get("gpucert", "unknown")
    attempt = _begin(ledger, folder, record.card, record.plan, record.started_at, version, simulated=record.simulated)
    try:
        ledger.judged(
            attempt,
            NewJudgement(
                outcome=verdict.outcome.value,
                tier=verdict.tier,
                exit_code=int(verdict.exit_code),
                diagnoses=tuple(one.code for one in verdict.diagnoses),
                record_sha256=judged.record_sha256,
                verdict_sha256=judged.verdict_sha256,
                policy_sha256=verdict.policy.sha256,
            ),
        )
        return ledger.standing(attempt)
    except LedgerError as error:
        raise ProblemError(str(error), ExitCode.INCOMPLETE) from error
