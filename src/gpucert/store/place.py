"""Where a bench keeps its ledger: apart from the ledger itself, because that imports a database library."""

from pathlib import Path


def default_path() -> Path:
    """The ledger's file in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("gpucert") / "ledger.sqlite3"
