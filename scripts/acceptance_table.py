"""The short table of an acceptance: what gpucert reached beside plain CUDA, as Markdown without a name of the card.

Standard library only, because it is made even where nothing else could be. What was not measured says so: no cell of it
is 0, and no row is left out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nameless import nameless

NARROW = "\u202f"
HEAD = "| what | ours | plain | ours / plain | of peak | repeats |\n|---|---:|---:|---:|---:|---:|"
NOTHING = "–"
COMPARED = "side_by_side.json"
TABLE = "table.md"


@dataclass(frozen=True)
class Ended:
    """How a stage ended, as far as the table tells it."""

    name: str
    passed: bool
    note: str


def table(out: Path, about: Mapping[str, object], stages: Sequence[Ended], not_run: Sequence[str]) -> str:
    """The table of what lies in a folder of results."""
    side = read(out / COMPARED)
    quick = next(iter(sorted(out.glob("quick/*/record.json"))), None)
    clocks = [*(() if quick is None else (quick,)), out / "probe-sm_clock" / "record.json"]
    covered = {
        "VRAM covered by the quick plan": quick,
        "VRAM covered by memory_scan alone": out / "probe-memory_scan" / "record.json",
    }
    lines = [
        f"# gpucert on {_name(side, about)}",
        "",
        _versions(side, about),
        "",
        HEAD,
        *_rows(side),
        *(_coverage(what, path) for what, path in covered.items()),
        _clock([step for path in clocks for step in _steps(path, "sm_clock")]),
        "",
        *_notes(side),
        *_ends(stages, not_run),
    ]
    return nameless("\n".join(lines)) + "\n"


def read(path: Path | None) -> dict[str, object]:
    """A JSON object; an empty one where there is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _name(side: Mapping[str, object], about: Mapping[str, object]) -> str:
    return str(_part(side, "card").get("name") or about.get("name") or "an unknown card")


def _versions(side: Mapping[str, object], about: Mapping[str, object]) -> str:
    """Date, driver and libraries in one line."""
    versions = {str(name): said for name, said in _part(side, "versions").items() if said}
    versions.setdefault("driver", str(about.get("driver", "unknown")))
    words = [f"{name.replace('_', ' ')} {said}" for name, said in sorted(versions.items()) if name != "kernels"]
    return " · ".join([str(side.get("made_at") or about.get("made_at") or "date unknown")[:10], *words])


def _rows(side: Mapping[str, object]) -> Iterable[str]:
    rows = side.get("rows")
    if not isinstance(rows, list) or not rows:
        yield _row("beside plain CUDA", f"not measured: {side.get('cannot_measure') or 'the stage left no results'}")
        return
    for row in rows:
        if row["outcome"] != "measured":
            word = "not offered" if row["outcome"] == "not_offered" else "NOT MEASURED"
            yield _row(row["what"], f"{word}: {row['why']}")
            continue
        unit = row["unit"]
        told = row["ours"] or row["plain"]
        yield _row(
            row["what"], _middle(row["ours"], unit), _middle(row["plain"], unit), _ratio(row["ratio"]),
            NOTHING if row["of_peak"] is None else f"{row['of_peak']:.3f}", str(told["n"]),
        )  # fmt: skip
    whole = _part(side, "coverage")
    if whole:
        share = float(str(whole["compared_bytes"])) / float(str(whole["total_bytes"]))
        told = f"{_gib(whole['compared_bytes'])} of {_gib(whole['total_bytes'])}"
        yield _row("VRAM covered by a pass here", told, of=f"{share:.4f}")


def _row(what: str, ours: str, plain: str = NOTHING, ratio: str = NOTHING, of: str = NOTHING, n: str = NOTHING) -> str:
    cells = (what, ours, plain, ratio, of, n)
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"


def _middle(spread: Mapping[str, float] | None, unit: str) -> str:
    return NOTHING if spread is None else f"{_number(spread['median'])}{NARROW}{unit}"


def _ratio(spread: Mapping[str, float] | None) -> str:
    return NOTHING if spread is None else f"{spread['median']:.3f} ({spread['q1']:.3f}–{spread['q3']:.3f})"


def _number(value: float) -> str:
    """Four significant digits."""
    return f"{value:,.0f}".replace(",", NARROW) if abs(value) >= 1000 else f"{value:.4g}"


def _gib(size: object) -> str:
    return f"{float(str(size)) / 2**30:.2f}{NARROW}GiB"


def _coverage(what: str, path: Path | None) -> str:
    """What a memory scan on record covered; only compares that are proven count."""
    scans = _steps(path, "memory_scan")
    if not scans:
        return _row(what, "not measured: no memory scan is on record")
    step = scans[-1]
    said = {name: one["value"] for name, one in _measured(step).items()}
    share, proven, asked = (said.get(name) for name in ("coverage", "words_compared", "words_expected"))
    if not isinstance(share, int | float) or not isinstance(proven, int | float) or not asked:
        return _row(what, f"NOT MEASURED: the scan {step.get('status')} {step.get('reason') or 'without coverage'}")
    if proven != asked:
        return _row(what, f"NOT PROVEN: {proven} of {asked} compares")
    return _row(what, f"{_gib(proven * 8)} compared", of=f"{share / 100:.4f}", n=str(said.get("rounds")))


def _steps(path: Path | None, probe: str) -> list[dict[str, Any]]:
    """The steps of one probe on a record."""
    steps = read(path).get("steps")
    return [step for step in steps if step["probe"] == probe] if isinstance(steps, list) else []


def _measured(step: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a step measured, by name."""
    return {one["name"]: one for one in step.get("measurements", ())}


def _clock(steps: Sequence[Mapping[str, Any]]) -> str:
    """The clock that the SMs counted beside the one that NVML read, of the first step that has either."""
    what = "SM clock under load"
    if not steps:
        return _row(what, "not measured: no step of sm_clock is on record")
    told = next((step for step in steps if _measured(step)), steps[0])
    said = _measured(told)
    absent = [one["value"] for one in said.values() if isinstance(one["value"], dict)]
    if "ratio" not in said:
        return _row(what, f"NOT MEASURED: the step {told.get('status')} {told.get('reason') or 'without a ratio'}")
    cells = [_mhz(said[name]["value"]) for name in ("real", "reported")]
    if absent:
        cells[0] += f" (not compared: {absent[0].get('detail') or absent[0].get('absent')})"
        return _row(what, *cells, n=str(said["ratio"]["n"]))
    ratio = said["ratio"]
    return _row(what, *cells, f"{ratio['value']:.4f} (± {ratio['u']:.4f})", n=str(ratio["n"]))


def _mhz(value: object) -> str:
    return f"{_number(value)}{NARROW}MHz" if isinstance(value, int | float) else NOTHING


def _notes(side: Mapping[str, object]) -> Iterable[str]:
    """What the numbers of the table mean."""
    yield "Medians; in brackets the quartiles of the ratios of turns side by side. “Of peak” is the share of the peak"
    yield "bandwidth, or of the whole memory. “Checked” counts all time, compares included; “products alone” is the"
    yield "rate that a record holds. Of the SM clock, ours is what the SMs counted, plain what NVML read meanwhile, and"
    yield "in brackets stands the standard uncertainty of their ratio."
    yield ""
    if rows := side.get("rows"):
        assert isinstance(rows, list)
        for said in dict.fromkeys(f"{row['plain_is']}" for row in rows if row["plain_is"]):
            yield f"- plain: {said}"
        for row in rows:
            if row["note"]:
                yield f"- {row['what']}: {row['note']}"
    if line := _peak(_part(side, "peak")):
        yield line
    others = side.get("others_on_the_card", 0)
    if others != 0:
        yield f"- other processes on the card: {others}"


def _peak(peak: Mapping[str, object]) -> str:
    if not peak.get("gb_s"):
        return "- peak bandwidth: unknown, neither CUDA nor NVML nor the catalogue tells it" if peak else ""
    sources = _part(peak, "sources_gb_s")
    told = ", ".join(f"{_number(float(str(value)))} by {name}" for name, value in sources.items())
    line = f"- peak bandwidth in GB/s: {told}"
    if peak.get("memory_clock_mhz") and peak.get("bus_bits"):
        line += f" (2 × {peak['memory_clock_mhz']} MHz × {peak['bus_bits']} bit / 8 by CUDA's attributes)"
    if clock := peak.get("memory_clock_under_load_mhz"):
        line += f"; NVML read {clock} MHz just after load"
    return line


def _ends(stages: Sequence[Ended], not_run: Sequence[str]) -> Iterable[str]:
    failed = [stage for stage in stages if not stage.passed]
    yield f"- stages: {len(stages) - len(failed)} of {len(stages)} passed"
    for stage in failed:
        yield f"- FAILED: {stage.name}{f': {stage.note}' if stage.note else ''}"
    if not_run:
        yield f"- not run, because no time was left: {', '.join(not_run)}"


def _part(tree: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = tree.get(name)
    return found if isinstance(found, dict) else {}
