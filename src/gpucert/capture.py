"""A capture: what was read of one card at one moment without loading it, from this station or from files of another.

Facts alone, as in a record; `gpucert inspect` judges them. Captures of one card from several files stay apart, because
what changed between them is evidence.
"""

from pathlib import PurePath
from typing import Literal

from msgspec import Struct

from gpucert.reading import NOT_ASKED, Absence, Absent, Reading
from gpucert.record import Counters, Identity, Process, Sample, Settings

NOT_STATED = Absent(Absence.UNKNOWN, "not in this capture")
"""What a capture leaves out."""


class LoggedXid(Struct, frozen=True, kw_only=True):
    """One Xid of a card in a kernel log, however often it was logged there with texts of one meaning."""

    code: int
    """A loss that the driver tells without a number is 79, which means just that."""
    times: int = 1
    first: str = ""
    """The driver's message, without process id and name: the name of a process never leaves the station."""
    last: str = ""
    """The message of the last time; empty where there was only one."""
    first_at: Reading[str] = NOT_ASKED
    """The time stamp of the log in its own words; `[902.500001]` are seconds since boot. By place in the file."""
    last_at: Reading[str] = NOT_ASKED
    detail: str = ""
    """What the text adds to the number (`catalogue.xid.decode`), for example `fatal`. Another detail, another entry."""
    caused_by: int | None = None
    """The earlier Xid that the driver names as the cause (Xid 45 of newer drivers)."""
    words: tuple[int, ...] = ()
    """The registers that the first line shows, for errors of NVLink 5."""


class LoggedBusErrors(Struct, frozen=True, kw_only=True):
    """PCIe errors that the kernel logged for a card (AER), of one severity."""

    severity: Literal["corrected", "non_fatal", "fatal"]
    times: int
    first: str
    first_at: Reading[str] = NOT_ASKED
    last_at: Reading[str] = NOT_ASKED


class NvLink(Struct, frozen=True, kw_only=True):
    """One NVLink of a card."""

    link: int
    up: bool
    gigabytes_per_s: Reading[float] = NOT_ASKED
    errors: Reading[int] = NOT_ASKED
    """Replay, recovery and CRC errors since the card was reset, added up."""


class Capture(Struct, frozen=True, kw_only=True):
    """What one source states of one card at one moment."""

    source: str
    """The file, as it was named, or `this station`."""
    document: int = 1
    """Which document of the file, counted from 1: the same card may stand in several."""
    documents: int = 1
    """How many documents the file holds."""
    taken_at: Reading[str] = NOT_ASKED
    """The time that the document states, in its own words: it names no time zone."""
    identity: Identity
    settings: Settings = Settings()
    counters: Counters = Counters()
    processes: Reading[tuple[Process, ...]] = NOT_ASKED
    sample: Sample
    nvlinks: tuple[NvLink, ...] = ()
    """Link by link, where the source tells them apart."""
    log: tuple[LoggedXid, ...] = ()
    bus_errors: tuple[LoggedBusErrors, ...] = ()
    not_initialised: str = ""
    """The driver's words where the log says that it could not start the card; empty where it does not."""
    left_out: tuple[str, ...] = ()
    """What every full query of its driver states and this one does not, or not in nvidia-smi's words: it was edited,
    or lines are lost."""
    notes: tuple[str, ...] = ()
    """What a reader should know about the source, for example that it shows one of eight cards."""

    @property
    def label(self) -> str:
        """The name of its file, and which document of several it is."""
        ordinal = f", document {self.document}" if self.documents > 1 else ""
        return f"{PurePath(self.source).name}{ordinal}"
