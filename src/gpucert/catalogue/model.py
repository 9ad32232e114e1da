"""What a model is: the facts of one GPU model that gpucert uses, each group with its sources.

Absent facts are None, which means "not found in any source", never zero. Units stand in the names of the fields.
"""

from typing import Literal

from msgspec import Struct

Cooling = Literal["own_fan", "passive", "liquid"]
PCIE_LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
"""Raw rate of a PCIe lane by generation, after line coding (PCI-SIG)."""
Ecc = Literal["none", "gddr_inline", "hbm_sideband", "unknown"]


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
    """The highest memory clock as NVML gives it; None where only a rounded data rate is known."""
    peak_gb_s: float
    """2 × memory clock × bus / 8; data sheets round it."""
    ecc: Ecc
    ecc_as_shipped: bool
    row_remapping: bool | None = None
    page_retirement: bool | None = None
    remap_banks: int | None = None
    """Sum of the row-remapper histogram on a healthy card."""
    driver_mib: int | None = None
    """What a driver has been seen to answer as total memory, in the state that `driver_mib_with` names."""
    driver_mib_with: str = ""

    @property
    def channel_bits(self) -> int:
        """Data wires of one channel: 64 of HBM, 32 of a GDDR5 chip, 16 of a GDDR6 or GDDR7 chip, which has several.

        A 32-byte sector, the least that is asked for, crosses one channel in 4, 8 or 16 beats (JESD235, 212, 250).
        """
        if self.type.startswith("HBM"):
            return 64
        return 32 if self.type.startswith("GDDR5") else 16

    @property
    def channels(self) -> int:
        """Independent channels of the bus."""
        return self.bus_bits // self.channel_bits

    @property
    def bytes_per_clock(self) -> float:
        """Peak bytes per memory clock: two transfers of the bus width, whatever the clock."""
        return 2 * self.bus_bits / 8

    @property
    def clock_mhz(self) -> float:
        """The clock at which `peak_gb_s` is reached: NVML's where it is known, else the data rate's."""
        return self.max_clock_mhz or 1000 * self.peak_gb_s / self.bytes_per_clock


class Peak(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Dense peak rates in TFLOP/s (INT8: TOP/s); None where the model has no such unit.

    Mining cards throttle their arithmetic: no peak of theirs is known, so theirs are None as well.

    `fp64` is what a matrix product can reach: the rate of the tensor cores where they take FP64. FP16 and BF16 rates
    accumulate in FP32.
    """

    fp64: float | None = None
    fp64_vector: float | None = None
    """FP64 outside tensor cores, where that is another rate."""
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
    """Share of the peak that healthy cards of this architecture sustain, clock-normalised: the prior's centre.

    Of arithmetic it was published for products of other shapes than ours, most of them square with sides up to 10,240;
    ours are deeper on tensor cores (stress/deep.py), and what that changes was not measured yet.
    """

    u_gemm: float
    """Relative standard uncertainty of the shares of arithmetic: how well published measurements agree."""
    u_tf32: float | None = None
    """That of the share of TF32 alone, where it is known less well than the others."""
    u_int8: float | None = None
    """That of INT8 alone, likewise."""
    u_memory: float
    """The same of the shares of memory bandwidth."""

    fp64: float | None = None
    fp32: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    bf16: float | None = None
    int8: float | None = None
    memory_read: float
    memory_write: float
    memory_copy: float

    def u(self, dtype: str) -> float:
        """Relative standard uncertainty of the share of a type."""
        own = {"tf32": self.u_tf32, "int8": self.u_int8}.get(dtype)
        return self.u_gemm if own is None else own


class Power(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Board power in watts."""

    default_w: float
    min_w: float | None = None
    max_w: float | None = None
    idle_w: float | None = None


class Thermal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cooling and limits. Newer models publish margins (T.Limit) instead of absolute limits: those stay None.

    The two resistances are engineering estimates (source code EST) that the virtual card and the thermal prior share.
    """

    cooling: Cooling
    fast_c_per_w: float
    """Rise of the core in the first second of a power step, per watt: die, thermal interface and base plate."""
    total_c_per_w: float
    """Rise of the core over the inlet air at steady full load, per watt."""
    slowdown_c: float | None = None
    shutdown_c: float | None = None
    max_operating_c: float | None = None
    memory_max_c: float | None = None
    tlimit_zero_c: float | None = None
    """Core temperature at which the margin was seen to be zero."""
    tlimit_slowdown_c: float | None = None
    """Margin at which the card slows down, −2 on most."""
    tlimit_shutdown_c: float | None = None


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
    max_sm_clock_mhz: int | None = None
    """The highest SM clock as NVML gives it; boards of one model may differ from the clock of `peak`."""
    release_year: int
    memory: Memory
    peak: Peak
    achieved: Achieved
    power: Power
    thermal: Thermal
    links: Links
    sources: dict[str, tuple[str, ...]]
    """Group of facts → its sources; the first word of each is a code that `sources.toml` explains."""
    notes: str = ""

    @property
    def sms_per_tpc(self) -> int:
        """SMs of a TPC, the smallest unit that is fused off: two, and one on Pascal's chips with GDDR."""
        return 1 if self.compute_capability == "6.1" else 2

    @property
    def has_tensor_cores(self) -> bool:
        """Volta and newer, less the GTX 16 series: true where a dense FP16 tensor rate is known."""
        return self.peak.fp16 is not None
