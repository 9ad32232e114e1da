"""Inspection reports for tests: one card, a rack of cards, and one whose every text is hostile."""

from gpucert.capture import Capture, LoggedXid, NvLink
from gpucert.catalogue import shelf
from gpucert.certificate.inspection import Source, render
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Identity, Sample, Settings
from gpucert.verdict.look import Look, judge_look

SOURCE = Source("card.txt", "ab" * 32, 4096)


def a100(text: str = "", **parts: object) -> Capture:
    """A capture of an A100 with a little of everything; `text` stands wherever a text from outside can."""
    identity = Identity(
        name=text or "NVIDIA A100-SXM4-80GB", uuid=text or "GPU-1", serial=text or "1324020001234",
        vbios=text or "92.00", bus_id=text or "00000000:65:00.0", pci_device="20b2",
        pci_subvendor="10de", pci_subdevice="147f", memory_mib=81920, driver=text or "535.161.08",
        board_part_number=Absent(Absence.UNKNOWN, text),
    )  # fmt: skip
    known: dict[str, object] = {
        "source": text or "card.txt",
        "taken_at": text or "Mon Mar  3 09:30:00 2025",
        "identity": identity,
        "settings": Settings(ecc=True, mig=False, virtualization=text or "none"),
        "counters": Counters(remap_pending=True, remapped_uncorrectable=4, ecc_uncorrected_aggregate=7),
        "sample": Sample(at_s=0.0, temperature_c=41.0, power_w=69.6, pcie_width=16),
        "nvlinks": tuple(NvLink(link=number, up=number != 5) for number in range(12)),
        "log": (
            LoggedXid(code=48, times=3, first=text or "An uncorrectable error", first_at=text or "Feb 01 14:25:31"),
        ),
        "notes": (text or "The document says that 4 GPUs are attached and shows 1.",),
    }
    return Capture(**(known | parts))  # type: ignore[arg-type]


def looked(*captures: Capture) -> Look:
    """The card of these captures, judged."""
    identity = captures[0].identity
    match = shelf.match(
        name=str(identity.name), device="20b2", subvendor="10de", subdevice="147f", memory_mib=81920, cuda_cores=None
    )
    return judge_look(identity, captures, match, (), in_order=True)


def page(*looks: Look, text: str = "") -> str:
    """The report of these cards."""
    source = Source(text, text, 1) if text else SOURCE
    return render(looks, (source,), (text,) if text else (), made_at=text or "2026-11-25T02:00:00+00:00", version="1")


def one() -> str:
    """One card of two captures."""
    later = a100(source="later.txt", taken_at="Mon Mar 10 09:30:00 2025", counters=Counters(remap_pending=False))
    return page(looked(a100(), later))


def rack() -> str:
    """Eight cards of which nothing speaks against most."""
    clean = looked(a100(counters=Counters(), nvlinks=(), log=(), notes=()))
    return page(*[clean] * 7, looked(a100()))


def hostile(text: str) -> str:
    """One card whose every text is this one."""
    return page(looked(a100(text), a100(text)), text=text)
