"""Looking at cards for `gpucert inspect`: captures sorted into cards, each matched with its model and judged."""

from collections.abc import Sequence

from msgspec import Struct

from gpucert.capture import Capture
from gpucert.cli.matching import match
from gpucert.device import joined
from gpucert.outcome import ExitCode, worst
from gpucert.verdict.look import Look, judge_look


class Looks(Struct, frozen=True, kw_only=True):
    """All cards of one call, as `--json` prints them."""

    cards: tuple[Look, ...]
    unreadable: tuple[str, ...] = ()
    """One line for each file that holds no capture."""
    exit_code: ExitCode


def look_at(captures: Sequence[Capture], unreadable: tuple[str, ...]) -> Looks:
    """Join and judge. A file that could not be read decides the exit code."""
    cards = tuple(
        judge_look(card.identity, card.captures, match(card.identity), card.notes, in_order=card.in_order)
        for card in joined.join(captures)
    )
    code = ExitCode.USAGE if unreadable else worst(card.exit_code for card in cards)
    return Looks(cards=cards, unreadable=unreadable, exit_code=code)
