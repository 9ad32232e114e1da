"""Records that were kept, and what today's code makes of each; run as a module, it renews their verdicts.

.venv-test/bin/python -m tests.kept_records

In tests/records/NAME/ lie record.json.gz, as a run wrote it (real cards masked by `scripts/mask-record`), and
verdict.json, as someone accepted it.
"""

import gzip
import tempfile
from pathlib import Path

import msgspec

from gpucert.cli import jobs
from gpucert.cli.rules import RuleFiles, load

FOLDERS = sorted(file.parent for file in (Path(__file__).parent / "records").glob("*/record.json.gz"))
DIGITS = 6
"""Significant digits of a kept figure: the last ones of a fit differ from one processor to another."""


def accepted(folder: Path) -> Path:
    """The file of the verdict that someone accepted."""
    return folder / "verdict.json"


def judged(folder: Path) -> jobs.Judged:
    """A kept record, judged by the rules of this version."""
    with tempfile.TemporaryDirectory() as unpacked:
        file = Path(unpacked) / "record.json"
        file.write_bytes(gzip.decompress((folder / "record.json.gz").read_bytes()))
        return jobs.judge_file(file, load(RuleFiles()))


def told(folder: Path) -> bytes:
    """The verdict of today, one field a line, its figures rounded."""
    verdict = msgspec.to_builtins(judged(folder).verdict)
    return msgspec.json.format(msgspec.json.encode(_rounded(verdict), order="sorted"), indent=1) + b"\n"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def renew() -> None:
    """Write every verdict anew."""
    for folder in FOLDERS:
        accepted(folder).write_bytes(told(folder))


if __name__ == "__main__":
    renew()
