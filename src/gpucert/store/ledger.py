"""The ledger of attempts and judgements: rows are added, never changed or removed (the database itself refuses)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

from msgspec import Struct
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    or_,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gpucert.store.place import default_path as default_path

SCHEMA_HEAD = "0001"

metadata = MetaData()

attempts = Table(
    "attempt",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("card_id", String, nullable=False, index=True),
    Column("serial", String, index=True),
    Column("name", String, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("plan", String, nullable=False),
    Column("started_at", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("gpucert", String, nullable=False),
)

judgements = Table(
    "judgement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False, index=True),
    Column("judged_at", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("tier", String),
    Column("exit_code", Integer, nullable=False),
    Column("diagnoses", String, nullable=False),
    Column("record_sha256", String, nullable=False),
    Column("verdict_sha256", String, nullable=False),
    Column("policy_sha256", String, nullable=False),
)


class NewAttempt(Struct, frozen=True, kw_only=True):
    """What is known when a run begins. `started_at` is UTC in ISO 8601 and names the attempt together with the card."""

    card_id: str
    serial: str | None
    name: str
    simulated: bool
    plan: str
    started_at: str
    folder: str
    gpucert: str


class NewJudgement(Struct, frozen=True, kw_only=True):
    """How a record was judged."""

    outcome: str
    tier: str | None
    exit_code: int
    diagnoses: tuple[str, ...]
    record_sha256: str
    verdict_sha256: str
    policy_sha256: str


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt as the ledger knows it; `outcome` is None while it was never judged (running, or interrupted)."""

    number: int
    """Counts from 1 for each card, simulated attempts apart from real ones."""
    card_id: str
    serial: str | None
    name: str
    simulated: bool
    plan: str
    started_at: str
    folder: str
    outcome: str | None
    tier: str | None
    exit_code: int | None
    diagnoses: tuple[str, ...]


class LedgerError(RuntimeError):
    """The ledger cannot be used; the text names it, the reason and the remedy."""


class Ledger:
    """An open ledger. Every method is one transaction."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where

    def begin(self, attempt: NewAttempt) -> int:
        """Add an attempt, or find it again when a run is resumed; its id in the ledger. Raises LedgerError."""
        with self._transaction() as connection:
            known = connection.execute(
                select(attempts.c.id).where(
                    attempts.c.card_id == attempt.card_id,
                    attempts.c.started_at == attempt.started_at,
                    attempts.c.folder == attempt.folder,
                )
            ).scalar()
            if known is not None:
                return int(known)
            row = {name: getattr(attempt, name) for name in attempt.__struct_fields__}
            return int(connection.execute(insert(attempts).returning(attempts.c.id), row).scalar_one())

    def judged(self, attempt_id: int, judgement: NewJudgement) -> None:
        """Add a judgement to an attempt. Raises LedgerError."""
        row = {name: getattr(judgement, name) for name in judgement.__struct_fields__}
        row |= {
            "attempt_id": attempt_id,
            "diagnoses": " ".join(judgement.diagnoses),
            "judged_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with self._transaction() as connection:
            connection.execute(insert(judgements), row)

    def standing(self, attempt_id: int) -> tuple[int, str]:
        """The number of this attempt on its card, and when the first one began. Raises LedgerError."""
        with self._transaction() as connection:
            row = connection.execute(
                select(attempts.c.card_id, attempts.c.simulated).where(attempts.c.id == attempt_id)
            ).one()
            number, since = connection.execute(
                select(func.count(), func.min(attempts.c.started_at)).where(
                    attempts.c.card_id == row.card_id,
                    attempts.c.simulated == row.simulated,
                    attempts.c.id <= attempt_id,
                )
            ).one()
            return int(number), str(since)

    def history(self, which: str | None = None) -> tuple[Attempt, ...]:
        """Attempts, oldest first: of the card with this id or serial, or of every card. Raises LedgerError."""
        newest = select(func.max(judgements.c.id)).group_by(judgements.c.attempt_id)
        number = func.row_number().over(partition_by=(attempts.c.card_id, attempts.c.simulated), order_by=attempts.c.id)
        query = (
            select(
                attempts,
                number.label("number"),
                judgements.c.outcome,
                judgements.c.tier,
                judgements.c.exit_code,
                judgements.c.diagnoses,
            )
            .outerjoin(judgements, (judgements.c.attempt_id == attempts.c.id) & judgements.c.id.in_(newest))
            .order_by(attempts.c.id)
        )
        if which is not None:
            query = query.where(or_(attempts.c.card_id == which, attempts.c.serial == which))
        with self._transaction() as connection:
            return tuple(
                Attempt(
                    number=row.number,
                    card_id=row.card_id,
                    serial=row.serial,
                    name=row.name,
                    simulated=row.simulated,
                    plan=row.plan,
                    started_at=row.started_at,
                    folder=row.folder,
                    outcome=row.outcome,
                    tier=row.tier,
                    exit_code=row.exit_code,
                    diagnoses=tuple((row.diagnoses or "").split()),
                )
                for row in connection.execute(query)
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise LedgerError(f"ledger {self._where}: {_plain(error)}; name another one with --store") from error


def open_ledger(path: Path) -> Ledger:
    """Open, and if need be create or upgrade, a ledger in an SQLite file. Raises LedgerError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"ledger {path}: {error.strerror}; name another one with --store") from error
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    event.listen(engine, "connect", _prepare)
    ledger = Ledger(engine, str(path))
    with ledger._transaction() as connection:
        current = _schema_of(connection)
        if current is not None and current > SCHEMA_HEAD:
            raise LedgerError(f"ledger {path}: written by a newer gpucert (schema {current}); upgrade gpucert")
    if current != SCHEMA_HEAD:
        _upgrade(engine, path)
    return ledger


def _prepare(connection: object, _record: object) -> None:
    """Let several processes share the file, and wait for each other instead of failing."""
    import sqlite3

    assert isinstance(connection, sqlite3.Connection)
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _schema_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    table = Table("alembic_version", MetaData(), Column("version_num", String))
    version = connection.execute(select(table.c.version_num)).scalar()
    return None if version is None else str(version)


def _upgrade(engine: Engine, path: Path) -> None:
    """Run the migrations; alembic is imported only here because most starts need none."""
    import fcntl

    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    try:
        with Path(f"{path}.lock").open("w") as lock, as_file(files("gpucert.store") / "migrations") as migrations:
            fcntl.flock(lock, fcntl.LOCK_EX)
            config = Config()
            config.set_main_option("script_location", str(migrations).replace("%", "%%"))
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    except (SQLAlchemyError, CommandError, OSError) as error:
        raise LedgerError(
            f"ledger {path}: cannot be upgraded: {_plain(error)}; name another one with --store"
        ) from error


def _plain(error: Exception) -> str:
    """The database's own words, without SQLAlchemy's wrapping."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
