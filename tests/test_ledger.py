"""The ledger: numbers attempts, keeps every one, and cannot be rewritten."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gpucert.store.ledger import LedgerError, NewAttempt, NewJudgement, open_ledger


def attempt(card: str = "GPU-1", started: str = "2026-11-01T10:00:00Z", *, simulated: bool = False) -> NewAttempt:
    return NewAttempt(
        card_id=card,
        serial="1320",
        name="NVIDIA A10",
        simulated=simulated,
        plan="quick",
        started_at=started,
        folder="/runs/1",
        gpucert="0.1.0",
    )


def judgement(outcome: str = "reported", exit_code: int = 10) -> NewJudgement:
    return NewJudgement(
        outcome=outcome,
        tier=None,
        exit_code=exit_code,
        diagnoses=("memory.hard",),
        record_sha256="r",
        verdict_sha256="v",
        policy_sha256="p",
    )


def test_attempts_are_numbered_per_card_and_apart_from_simulated_ones(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite3")
    first = ledger.begin(attempt())
    ledger.begin(attempt(simulated=True, started="2026-11-01T10:30:00Z"))
    ledger.begin(attempt(card="GPU-2", started="2026-11-01T10:40:00Z"))
    second = ledger.begin(attempt(started="2026-11-02T10:00:00Z"))
    assert ledger.standing(first) == (1, "2026-11-01T10:00:00Z")
    assert ledger.standing(second) == (2, "2026-11-01T10:00:00Z")
    assert [(row.card_id, row.simulated, row.number) for row in ledger.history()] == [
        ("GPU-1", False, 1),
        ("GPU-1", True, 1),
        ("GPU-2", False, 1),
        ("GPU-1", False, 2),
    ]


def test_a_resumed_run_is_the_same_attempt(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite3")
    assert ledger.begin(attempt()) == ledger.begin(attempt())
    assert len(ledger.history()) == 1


def test_an_attempt_that_was_never_judged_stays_visible(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite3")
    ledger.begin(attempt())
    (row,) = ledger.history("1320")
    assert row.outcome is None


def test_the_newest_judgement_is_shown_and_older_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(path)
    number = ledger.begin(attempt())
    ledger.judged(number, judgement("incomplete", 30))
    ledger.judged(number, judgement("reported", 10))
    (row,) = ledger.history("GPU-1")
    assert (row.outcome, row.exit_code, row.diagnoses) == ("reported", 10, ("memory.hard",))
    assert sqlite3.connect(path).execute("SELECT count(*) FROM judgement").fetchone() == (2,)


@pytest.mark.parametrize("statement", ["DELETE FROM attempt", "UPDATE judgement SET outcome = 'certified'"])
def test_no_row_can_be_changed_or_removed(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(path)
    ledger.judged(ledger.begin(attempt()), judgement())
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


def test_several_processes_may_create_and_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3]);"
        "from tests.test_ledger import attempt; from gpucert.store.ledger import open_ledger;"
        "ledger = open_ledger(Path(sys.argv[1]));"
        "[ledger.begin(attempt(started=f'{sys.argv[2]}-{n}')) for n in range(5)]"
    )
    root = str(Path(__file__).parent.parent)
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(n), root], env=os.environ) for n in range(4)
    ]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0, 0]
    assert [row.number for row in open_ledger(path).history()] == list(range(1, 21))


def test_a_file_that_is_no_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LedgerError, match="file is not a database; name another one with --store"):
        open_ledger(path).history()


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    open_ledger(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="newer gpucert"):
        open_ledger(path)


def test_the_migrations_build_exactly_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    from gpucert.store import ledger

    path = tmp_path / "ledger.sqlite3"
    open_ledger(path)
    with create_engine(f"sqlite:///{path}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), ledger.metadata) == []
