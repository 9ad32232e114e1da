"""What a model is: the facts of one GPU model that gpucert uses, each group with its sources.

Absent facts are None, which means "not found in any source", never zero. Units stand in the names of the fields.
"""

from typing import Literal

from msgspec import Struct

Cooling = Literal["own_fan", "passive", "liquid"]
Ecc = Literal["none", "gddr_inline", "hbm_sideband"]


class PciId(Struct, frozen=True, forbid_unknown_fields=True):
    """A PCI device id, narrowed to one subsystem where several products share it; lower-case hex, four digits each."""

    device: str
    subvendor: str | None = None
    subdevice: str | None = None


class Memory(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Memory of one GPU. `size_gib` is nominal: the driver answers a little less."""

    size_gib: int
    type: str
    bus_bits: int
    max_clock_mhz: int | None = None
    """The memory clock as NVML gives it; peak bandwidth = 2 × clock × bus / 8."""
    peak_gb_s: float
    ecc: Ecc
    ecc_as_shipped: bool
    row_remapping: bool = False
    page_retirement: bool = False
    remap_banks: int | None = None
    """Sum of the row-remapper histogram on a healthy card."""


class Peak(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Dense peak rates in TFLOP/s (INT8: TOP/s); None where the model has no such unit."""

    fp64: float | None = None
    fp32: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    bf16: float | None = None
    fp8: float | None = None
    int8: float | None = None
    clock_mhz: int
    """SM clock at which fp64 and fp32 are stated."""
    tensor_clock_mhz: int | None = None
    """SM clock at which the tensor rates are stated, where it differs."""


class Achieved(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Share of the peak that healthy cards of this architecture sustain, clock-normalised: the prior's centre."""

    fp64: float | None = None
    fp32: float | None = None
    fp16: float | None = None
    bf16: float | None = None
    memory_read: float
    memory_write: float
    memory_copy: float


class Power(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Board power in watts."""

    default_w: float
    min_w: float | None = None
    max_w: float | None = None
    idle_w: float | None = None


class Thermal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cooling and limits. Newer models publish margins (T.Limit) instead of absolute limits: those stay None."""

    cooling: Cooling
    slowdown_c: float | None = None
    shutdown_c: float | None = None
    max_operating_c: float | None = None
    memory_max_c: float | None = None


class Links(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What connects the card: PCIe as the GPU supports it, and NVLink."""

    pcie_gen: int
    pcie_width: int
    nvlinks: int = 0
    nvlink_gb_s: float | None = None
    """Total of all links, both directions."""


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One GPU model. `key` is the name that NVML answers, made unique where several products share it."""

    key: str
    names: tuple[str, ...]
    """Every name that a driver has been seen to answer for it, the newest first."""
    chip: str
    architecture: str
    compute_capability: str
    pci: tuple[PciId, ...]
    form_factor: str
    sm_count: int
    cuda_cores: int
    l2_mib: float | None = None
    release_year: int
    memory: Memory
    peak: Peak
    achieved: Achieved
    power: Power
    thermal: Thermal
    links: Links
    sources: dict[str, tuple[str, ...]]
    """Group of facts → the codes of its sources, explained in `sources.toml`."""
    notes: str = ""

    @property
    def has_tensor_cores(self) -> bool:
        """Volta and newer, less the GTX 16 series: true where a dense FP16 tensor rate is known."""
        return self.peak.fp16 is not None
