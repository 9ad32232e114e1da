"""The one object that `--json` prints: what happened to each card, and the exit code."""

from collections.abc import Sequence

import click
import msgspec
from msgspec import Struct

from gpucert.cli.jobs import CardFolder, Judged
from gpucert.outcome import ExitCode, VerdictOutcome, worst


class CardSummary(Struct, frozen=True, kw_only=True):
    """One card, for a program that drives gpucert."""

    card: str
    model: str | None
    outcome: VerdictOutcome
    tier: str | None
    diagnoses: tuple[str, ...]
    exit_code: ExitCode
    files: dict[str, str]

    @classmethod
    def of(cls, judged: Judged, folder: CardFolder) -> "CardSummary":
        """The summary of a judged card whose files lie in `folder`."""
        verdict = judged.verdict
        return cls(
            card=judged.record.card.card_id,
            model=verdict.model,
            outcome=verdict.outcome,
            tier=verdict.tier,
            diagnoses=tuple(one.code for one in verdict.diagnoses),
            exit_code=verdict.exit_code,
            files=folder.files(),
        )

    @classmethod
    def unjudged(cls, folder: CardFolder, exit_code: ExitCode) -> "CardSummary":
        """The summary of a card that could not be run to its end: nothing is said about it."""
        return cls(
            card=folder.path.name,
            model=None,
            outcome=VerdictOutcome.INCOMPLETE,
            tier=None,
            diagnoses=(),
            exit_code=exit_code,
            files=folder.files(),
        )


class Summary(Struct, frozen=True):
    """All cards of one call."""

    cards: Sequence[CardSummary]
    exit_code: ExitCode


def print_json(cards: Sequence[CardSummary]) -> None:
    """Print the summary on standard output."""
    summary = Summary(cards, worst(card.exit_code for card in cards))
    click.echo(msgspec.json.format(msgspec.json.encode(summary)).decode())
