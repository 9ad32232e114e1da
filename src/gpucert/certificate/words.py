"""The page's words: what probes, measures, tiers and marks are called where a person reads them."""

from gpucert.certificate.harmless import harmless
from gpucert.outcome import LOOKS, Look, Outcome
from gpucert.verdict.verdict import Finding

TIERS = {
    "A": "multi-GPU training",
    "B": "HPC in FP64",
    "C": "inference around the clock",
    "D": "fine-tuning, development, teaching",
    "E": "graphics, virtual desktops, media",
    "F": "derated or edge use",
    "G": "repair or parts",
    "H": "recycling",
}

STATION = Look("station", "⌂", "blue", "about the host that ran the test, not about the card")
ADVICE = Look("advice", "i", "blue", "worth knowing; too little is known to hold it against the card")

FOUND = Look("something found", "✘", "red", "something that was read speaks against the card")
NOTHING_FOUND = Look("nothing found", "◐", "blue", "nothing that was read speaks against the card; nothing was loaded")

SAID_OF = {Outcome.FAIL, Outcome.MARGINAL, Outcome.ERROR}
"""Outcomes that speak against whatever they are about."""

PROBES = {
    "card": "What the card says of itself",
    "counters": "Counters",
    "gemm_exact": "Exact matrix products",
    "gemm_sustained": "Sustained matrix products",
    "heat_cycles": "Heat cycles",
    "identity": "Identity",
    "load_swings": "Load swings",
    "memory_bandwidth": "Memory bandwidth",
    "memory_scan": "Memory scan",
    "memory_under_load": "Memory and products at once",
    "nvlink": "NVLink",
    "pcie_link": "PCIe link",
    "run": "During the run",
    "settings": "Settings",
    "sm_answers": "Known answers on every SM",
    "sm_clock": "Real clock of the SMs",
    "step": "The plan",
    "thermal": "Cooling",
    "thermal_soak": "Thermal soak",
}

MEASURES = {
    "gemm_exact.wrong": "wrong outputs",
    "gemm_sustained.wrong": "outputs that changed between runs",
    "heat_cycles.swing": "swing of the temperature in every cycle",
    "heat_cycles.wrong": "wrong outputs in the heat cycles",
    "heat_cycles.wrong_words": "wrong words of memory in the heat cycles",
    "identity.sm_count": "SMs on the chip",
    "load_swings.fastest": "fastest swings of the load",
    "load_swings.wrong": "wrong outputs while the load swung",
    "memory_bandwidth.copy": "copy",
    "memory_bandwidth.copy_per_clock": "copy per memory clock",
    "memory_bandwidth.read": "read",
    "memory_bandwidth.read_per_clock": "read per memory clock",
    "memory_bandwidth.write": "write",
    "memory_bandwidth.write_per_clock": "write per memory clock",
    "memory_scan.coverage": "share of memory tested",
    "memory_scan.error_bound": "errors per bit read, at most (95 %)",
    "memory_scan.escape": "chance to miss a cell misread once in 100 reads",
    "memory_scan.reads": "reads of each word",
    "memory_scan.self_test_found": "planted errors found",
    "memory_scan.self_test_planted": "planted errors",
    "memory_scan.slowest_chunk": "slowest part below the median",
    "memory_under_load.overlap": "work done at the same time, at least",
    "memory_under_load.wrong": "wrong outputs beside memory",
    "memory_under_load.wrong_words": "wrong words beside products",
    "pcie_link.to_card": "rate to the card",
    "pcie_link.to_host": "rate to the host",
    "sm_clock.fastest": "the fastest SM",
    "sm_clock.ratio": "real clock over the reported one",
    "sm_clock.real": "real clock",
    "sm_clock.reported": "reported clock",
    "sm_clock.slowest": "the slowest SM",
    "thermal.fast": "die to cooler, first second",
    "thermal.slow": "fins to air",
    "thermal.total": "die to air, whole path",
    "thermal.inlet": "air at the inlet",
    "thermal.inlet_max": "warmest inlet air at full power",
    "thermal_soak.hotspot_over_core": "hottest part of the die over its sensor",
    "memory_bandwidth.memory_over_core": "memory over die, under its own load",
    "memory_bandwidth.thermal_throttle": "time slowed by heat",
    "memory_bandwidth.rate_kept": "reading kept as it warms",
    "thermal_soak.thermal_throttle": "time slowed by heat",
}

ACTIONS = {
    "CHECK_APP/CUDA": "check the application and CUDA",
    "CHECK_MECHANICALS": "check seating, cables and power",
    "CHECK_UVM": "check unified memory",
    "CONTACT_SUPPORT": "contact support",
    "IGNORE": "none",
    "RESET_GPU": "reset the GPU",
    "RESTART_APP": "restart the application",
    "RESTART_BM": "restart the machine",
    "RESTART_VM": "restart the virtual machine",
    "UPDATE_SWFW": "update driver and firmware",
}
"""NVIDIA's action buckets; one that is not here names a workflow of NVIDIA's and is shown as it is spelt."""

_SPELT = {
    "bf16": "BF16", "c": "°C", "cuda": "CUDA", "ecc": "ECC", "fp16": "FP16", "fp32": "FP32", "fp64": "FP64",
    "fp8": "FP8", "inforom": "InfoROM", "int32": "INT32", "int8": "INT8", "l2": "L2", "mj": "mJ", "ns": "ns",
    "nvlink": "NVLink", "nvlinks": "NVLinks", "pcie": "PCIe", "sfu": "SFU", "sm": "SM", "sms": "SMs", "sram": "SRAM",
    "tf32": "TF32", "xid": "Xid", "xids": "Xids", "dbe": "(double-bit)", "sbe": "(single-bit)",
}  # fmt: skip


def words(name: str) -> str:
    """`ecc_corrected` as a person writes it."""
    return " ".join(_SPELT.get(word, word) for word in harmless(name).split("_"))


def probe_name(probe: str) -> str:
    """What a probe does, as the title of a group."""
    return PROBES.get(probe) or capitalised(words(probe))


def measure_name(probe: str, measure: str) -> str:
    """A measure beside the name of its probe."""
    if measure == "step":
        return "the step itself"
    return MEASURES.get(f"{probe}.{measure}") or words(measure)


def gate_name(gate: str) -> str:
    """A gate: `probe.measure`, a probe, or a few words that the policy uses."""
    probe, dot, measure = gate.partition(".")
    if dot and probe in PROBES:
        return probe_name(probe) if measure == "step" else measure_name(probe, measure)
    return probe_name(gate) if gate in PROBES else harmless(gate)


def tier_title(letter: str) -> str:
    """The class of use that a tier stands for; a tier of another policy has none."""
    return TIERS.get(letter, "of a custom policy")


def look_of(finding: Finding) -> Look:
    """How a finding is shown: what is about the station, or only advises, must not read as a fault of the card."""
    if finding.outcome in SAID_OF and finding.subject == "station":
        return STATION
    if finding.outcome in SAID_OF and (finding.advisory or finding.subject == "note"):
        return ADVICE
    return LOOKS[finding.outcome]


def capitalised(text: str) -> str:
    """The text with a capital first, the rest as it is."""
    return text[:1].upper() + text[1:]


def clock(seconds: float) -> str:
    """Time since the start of the run as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


GLOSSARY = (
    (
        "advice",
        "something worth knowing that costs the card nothing, because too little is known to hold it against it",
    ),
    ("baseline", "what healthy cards of one model measure; n is how many reference cards stand behind it"),
    ("centre", "what a healthy card of this model is expected to measure"),
    ("ECC", "memory that corrects single wrong bits by itself and notices double ones"),
    (
        "evidence grade",
        "prior: no reference card, from published figures; thin: 1–4; developing: 5–19; established: 20+",
    ),
    ("limit", "where a measurement stops being acceptable"),
    ("marginal", "too close to the limit to decide; costs a tier"),
    ("SM", "streaming multiprocessor: one of the many processors of a GPU"),
    ("specimen", "a page that nobody vouches for, because the card was virtual or the page is not signed"),
    ("station", "the host that ran the test, with its slot, its air and its power; none of it is part of the card"),
    ("tier", "the best class of use whose every gate was tested and met"),
    ("u", "standard uncertainty of the measurement on this card; limits are judged with 1.645 u in reserve"),
    ("Xid", "an error number that the NVIDIA driver logs"),
)
