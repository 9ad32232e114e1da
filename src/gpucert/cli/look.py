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


def look_at(captures: Sequence[Capture], unreadable: tuple[str, ...], *, live: bool = False) -> Looks:
    """Join and judge. What could not be read decides the exit code: a file is bad input, a card that hangs is not."""
    cards = tuple(
        judge_look(
            card.identity,
            card.captures,
            match(card.identity),
            card.notes,
            in_order=card.in_order,
            contradictions=card.contradictions,
        )
        for card in joined.join(captures)
    )
    bad = (ExitCode.INCOMPLETE if live else ExitCode.USAGE) if unreadable else None
    return Looks(cards=cards, unreadable=unreadable, exit_code=bad or worst(card.exit_code for card in cards))
