"""The diagnoses that gpucert can make: what each means, what it rests on and what to do about it.

A code's first word is its family. `subject` says whose fault it is: a diagnosis of the station costs the card no tier.
`gpucert explain CODE` prints a row of this table.
"""

from typing import Literal

from msgspec import Struct

Subject = Literal["card", "station", "note"]


class Kind(Struct, frozen=True):
    """One row of the table."""

    code: str
    meaning: str
    evidence: str
    action: str
    subject: Subject = "card"

    @property
    def family(self) -> str:
        """The first word of the code, which groups diagnoses that share a cause."""
        return self.code.partition(".")[0]


class UnknownDiagnosisError(LookupError):
    """No diagnosis has this code."""


_TABLE = (
    Kind(
        "memory.hard",
        "A memory cell holds the wrong value again after it was rewritten.",
        "The same address fails a re-read after an L2 flush, and fails again after the expected value was rewritten.",
        "Not for use without ECC. Replace the memory device, or grade for parts.",
    ),
    Kind(
        "memory.soft",
        "A memory cell held a wrong value until it was rewritten.",
        "Re-reads after an L2 flush repeat the wrong value; after a rewrite the address is right.",
        "Run the burn-in plan: one upset is chance, a second at any address is a defect.",
    ),
    Kind(
        "memory.transient",
        "A read returned a wrong value once; the stored data was right.",
        "The first re-read after an L2 flush was right, and so were hundreds of others.",
        "Run the burn-in plan and watch for the same SM or the same lanes.",
    ),
    Kind(
        "memory.data_line",
        "One data wire of a memory channel is bad: a solder joint, a via of a stack, or a driver of either end.",
        "Wrong bits lie in lanes at the constant distance that one wire has, in many words of one share of the memory.",
        "Reflow or replace the memory device; wires of HBM cannot be repaired: grade for parts.",
    ),
    Kind(
        "memory.coupling",
        "A memory cell changes when another one is written.",
        "The same address is wrong whenever the same phase runs, and right after a rewrite, many reads and a rest.",
        "Not for use without ECC. Replace the memory device, or grade for parts.",
    ),
    Kind(
        "memory.intermittent",
        "A memory cell is read wrongly now and then, whatever it holds.",
        "The same address and bit fail some of many reads, and no rewrite changes how often.",
        "Run the burn-in plan for its rate. Not for use without ECC; replace the memory device.",
    ),
    Kind(
        "memory.retention",
        "Memory loses its charge: cells too weak for the refresh they get, or rows that are not refreshed at all.",
        "Words that were right at first are wrong after they were left alone, above all while the memory is warm.",
        "Cool the memory (pads, airflow) and test again; if it repeats, replace the memory device.",
    ),
    Kind(
        "memory.path",
        "Data is damaged on its way from or to the memory (L2, crossbar, load-store path, copy engine), behind ECC.",
        "Errors follow the reading SM or the copy engine, or appear with ECC on and clean ECC counters.",
        "Reset the card and test again; if it repeats, grade for parts.",
    ),
    Kind(
        "memory.alias",
        "Two addresses reach the same memory.",
        "Own-address pass: the wrong value decodes to the valid token of another offset.",
        "Check the identity of the card (fake capacity), then replace or grade for parts.",
    ),
    Kind(
        "memory.ecc_corrected",
        "ECC corrected errors while the card was under test.",
        "The corrected-error counter rose in two phases, or faster than the policy's rate.",
        "Run the burn-in plan; a rate that stays calls for a memory repair.",
    ),
    Kind(
        "memory.ecc_uncorrected",
        "ECC found an error that it could not correct.",
        "The uncorrected counter rose, CUDA reported error 214, or Xid 48, 95, 140, 171 or 172 was logged.",
        "Reset the card so that a pending row remap takes effect, then test again from the start.",
    ),
    Kind(
        "memory.contained",
        "ECC found an error that it could not correct, and the driver contained it in the process that met it.",
        "Xid 94, and of the Xids of memory errors no other.",
        "Reset the card so that a pending row remap takes effect, then test again from the start.",
    ),
    Kind(
        "memory.row_remap",
        "Row remapping failed, is pending, or has used up its rows.",
        "The row remapper's failure or pending flag, or 512 uncorrectable remaps.",
        "Pending: reset the card and test again. Failed: NVIDIA's criterion for return; grade for parts.",
    ),
    Kind(
        "memory.remap_reserve",
        "Banks of memory have few or no spare rows left.",
        "The row-remapper histogram counts banks as low or none.",
        "Keep out of multi-GPU training; disclose on sale.",
    ),
    Kind(
        "memory.retired_pages",
        "Pages of memory are retired, or their retirement is pending.",
        "Retired-page counts from the InfoROM, DCGM's limits.",
        "Pending: reload the driver and test again. At 60 pages: grade for parts.",
    ),
    Kind(
        "memory.sram",
        "On-chip memory (SRAM) passed NVIDIA's error threshold.",
        "The driver's SRAM threshold flag, or uncorrected SRAM errors.",
        "Meets NVIDIA's criterion for return once the field diagnostic confirms it.",
    ),
    Kind(
        "memory.channel",
        "A memory channel is missing: dead or fused off.",
        "The memory bus is narrower than the model's by whole channels, with the model's own name and cores.",
        "Look for a memory device that is loose or dead. Sell only with the bus width and memory size that are left.",
    ),
    Kind(
        "memory.link_replay",
        "Transfers between chip and memory are repeated until their checksums agree: right data, lost bandwidth.",
        "Bandwidth per memory clock that is right while the memory is cool and low once it is warm.",
        "Cool the memory (pads, airflow) and test again; if it stays, reflow or replace the memory device.",
    ),
    Kind(
        "memory.coverage",
        "Part of the memory could not be tested.",
        "Bytes compared against the card's total; what held the rest.",
        "Stop other processes and displays, then test again.",
        subject="station",
    ),
    Kind(
        "compute.sm",
        "A streaming multiprocessor computes wrong answers where others are right.",
        "Known-answer kernels or exact matrix products differ from the reference on the same SM repeatedly.",
        "Not for any computation. Grade for parts.",
    ),
    Kind(
        "compute.wrong",
        "The card computed wrong answers that could not be tied to one SM.",
        "Exact matrix products differ from the reference that the card did not make.",
        "Not for any computation. Test again with the burn-in plan to find the place.",
    ),
    Kind(
        "compute.repeatable",
        "The card computes the same wrong answer every time.",
        "Known answers are wrong on every SM alike, and repeat.",
        "Check driver and libraries on a known-good card; if that is right, grade for parts.",
    ),
    Kind(
        "compute.units_missing",
        "Some of the chip's multiprocessors are missing: dead or fused off.",
        "Fewer SMs than the model has, by whole TPCs, with the model's own name and memory.",
        "Rule out MIG, MPS and a smaller model of this chip flashed as this one. Sell only with the SMs that are left.",
    ),
    Kind(
        "performance.compute",
        "Arithmetic is slower than healthy cards of this model at the same clock.",
        "Clock-normalised sustained matrix throughput below its limit.",
        "Check power cables and limits, then test again; a card that stays slow loses its tier.",
    ),
    Kind(
        "performance.memory",
        "Memory is slower than on healthy cards of this model.",
        "Sustained bandwidth per memory clock below its limit.",
        "Look for corrected errors and a lowered memory clock, then test again.",
    ),
    Kind(
        "performance.clocks",
        "The card is slower than others of its model, because its clocks are lower; for each clock it does as much.",
        "A sustained rate per second below its limit, and the same rate per clock within.",
        "Look for lowered clocks (`nvidia-smi -q -d CLOCK`), power cables and heat, then test again.",
    ),
    Kind(
        "thermal.interface",
        "Heat does not pass well from the die into the cooler: paste, pressure or a missing screw.",
        "The temperature rise in the first second per watt is high, the rest of the path is as usual.",
        "Remove the cooler, renew the thermal interface, tighten evenly, test again.",
    ),
    Kind(
        "thermal.airflow",
        "The cooler does not give its heat to the air: dust, a weak or stopped fan, a blocked inlet.",
        "The slow part of the thermal resistance is high, the first second is as usual.",
        "Clean the fins, check that every fan turns, test again.",
    ),
    Kind(
        "thermal.memory_pads",
        "Heat does not pass well from the memory into the cooler: pads that are worn, too thin or missing.",
        "Under a load on its memory, this is far hotter than the die, or heat slows the card while the die is cool.",
        "Remove the cooler, renew the pads of the memory in their proper thickness, test again.",
    ),
    Kind(
        "thermal.hotspot",
        "A part of the die is far hotter than the rest: the cooler does not touch it evenly.",
        "The hot-spot sensor shows far more than that of the die under load; the first second may be as usual.",
        "Remove the cooler, clean die and cold plate, renew the thermal interface, tighten evenly, test again.",
    ),
    Kind(
        "thermal.throttle",
        "The card slowed down because of heat, and the cause could not be told apart.",
        "Thermal slowdown time rose during the run.",
        "Check inlet air, fans and paste in this order, then test again.",
    ),
    Kind(
        "station.airflow",
        "The chassis does not move enough air over a card that has no fan of its own.",
        "The slow part of the thermal resistance is high on a passively cooled card.",
        "Raise the chassis fans, close empty slots, test again.",
        subject="station",
    ),
    Kind(
        "station.inlet",
        "The air that reaches the card is too warm to judge its cooling.",
        "Inlet temperature as stated, or idle temperature with the card at rest.",
        "Test again with inlet air below 30 °C.",
        subject="station",
    ),
    Kind(
        "station.power",
        "The host held the card back through its power brake.",
        "The hardware power-brake reason was active during the run.",
        "Check power supply and cables, or test again in another slot.",
        subject="station",
    ),
    Kind(
        "station.contention",
        "Another process used the card during the test.",
        "Processes on the card, or memory used before the test began.",
        "Stop the process (`nvidia-smi` lists it) and test again.",
        subject="station",
    ),
    Kind(
        "station.permission",
        "The station may not read something that decides.",
        "The driver answered no_permission.",
        "Run as root, or give the container access, and test again.",
        subject="station",
    ),
    Kind(
        "station.driver",
        "The card could not be loaded from this station.",
        "The driver or the compute library (CuPy) is missing, or does not fit the card.",
        "Install the driver and the extra cuda13 (cuda12 for Pascal and Volta), then test again.",
        subject="station",
    ),
    Kind(
        "station.down",
        "The whole station went down twice in the same step: card or power supply, undetermined.",
        "The journal shows two restarts of the station inside one step.",
        "Test the card in another station with a known-good power supply.",
        subject="station",
    ),
    Kind(
        "station.worker",
        "A part of the test program was stopped from outside.",
        "A worker or the monitor was killed by a signal that the card cannot cause, or the station ran out of memory.",
        "Look at the station's log, then continue with `gpucert certify --resume`.",
        subject="station",
    ),
    Kind(
        "link.pcie_width",
        "The PCIe link runs on fewer lanes than the card has.",
        "Link width under load, against the model and the slot.",
        "Clean the contacts and test again in another slot.",
        subject="station",
    ),
    Kind(
        "link.pcie_gen",
        "The PCIe link runs at a lower generation than card and slot allow.",
        "Link generation under load.",
        "Reseat the card and test again in another slot.",
        subject="station",
    ),
    Kind(
        "link.pcie_errors",
        "Transfers over PCIe were repeated under load.",
        "The replay counter rose faster than DCGM's limit.",
        "Clean the contacts, reseat, test again in another slot.",
        subject="station",
    ),
    Kind(
        "link.pcie_data",
        "Data that was copied over PCIe arrived damaged.",
        "Copied data differed; PCIe checks its packets, so it was damaged in a chip.",
        "Test again in another slot and station; damaged data again rejects the card.",
    ),
    Kind(
        "link.pcie_bandwidth",
        "PCIe transfers are slow for the width and generation that the link reports.",
        "Measured copy bandwidth against the link's own rate.",
        "Test again in another slot, close to the card's processor socket.",
        subject="station",
    ),
    Kind(
        "link.nvlink_down",
        "An NVLink is down.",
        "Link state from the driver, against the model's number of links.",
        "Check the bridge or baseboard; without repair not for multi-GPU training.",
    ),
    Kind(
        "identity.mismatch",
        "The card is not what it says it is.",
        "Name, device id, SM count, memory size or bus width disagree with each other.",
        "Do not sell under this name. Keep the evidence.",
    ),
    Kind(
        "identity.memory",
        "The card has more or less memory than its model, or less than it says.",
        "Memory size against the model; tokens that alias above the real size.",
        "Do not sell under this name. Keep the evidence.",
    ),
    Kind(
        "identity.inforom",
        "The card's own record (InfoROM) is corrupted.",
        "The driver's InfoROM checksum test, or its warning.",
        "Its history cannot be read: not certifiable. Ask the board maker for repair.",
    ),
    Kind(
        "identity.history",
        "What the card counts over its life went down: it was cleared or edited, or the captures are not of one card.",
        "A counter of the InfoROM that is lower in a later capture than in an earlier one.",
        "Do not rely on its counters: ask who cleared them and why, and keep both files.",
    ),
    Kind(
        "identity.capture",
        "What every such card states is missing: the capture was edited, or lines of it are lost.",
        "Readings that every full query of its driver states, and parts that its model has, against the capture.",
        "Ask for it again, whole, and watch it being made: `nvidia-smi -q > FILE`. What is left out may be the fault.",
    ),
    Kind(
        "config.ecc",
        "ECC is off on a model that ships with it on.",
        "Current ECC mode against the model.",
        "`nvidia-smi -e 1`, restart, test again.",
        subject="station",
    ),
    Kind(
        "config.pending",
        "A mode change waits for a restart.",
        "Pending ECC or MIG mode differs from the current one.",
        "Restart or reset the card, then test again.",
        subject="station",
    ),
    Kind(
        "config.mig",
        "The card is split into MIG instances, which hides counters.",
        "Current MIG mode.",
        "`nvidia-smi -mig 0`, reset, test again.",
        subject="station",
    ),
    Kind(
        "config.vgpu",
        "This is a virtual GPU: a share of a card that others may use as well.",
        "The driver's virtualization mode.",
        "Test on the host, or pass the whole card through.",
        subject="station",
    ),
    Kind(
        "power.limit",
        "The power limit is lowered, so that performance is not comparable.",
        "Enforced limit against the card's default limit.",
        "`nvidia-smi -pl DEFAULT` with the card's default watts, then test again.",
        subject="station",
    ),
    Kind(
        "power.sensor",
        "The power sensor answers other watts than there are: a wrong or changed shunt, or a wrong gain.",
        "Every thermal resistance is off by one factor, while the shape of the warming is as usual.",
        "Compare with a meter in the supply line, look for changed shunt resistors, test again.",
    ),
    Kind(
        "power.droop",
        "The multiprocessors run slower under load than the clock that the card reports.",
        "Cycles that the SMs counted in a second of the card's timer, below the SM clock that the driver reported.",
        "Check power cables and supply, then test in another station; if it repeats there, grade for parts.",
    ),
    Kind(
        "board.intermittent",
        "A joint of the board or the package opens with the heat: solder, a contact or a crack.",
        "Memory, link or answers that were right in every step before fail as the card is heated and cooled in turn.",
        "Clean the contacts, test in another slot. If it repeats, grade for parts: a reflow hides it for a while.",
    ),
    Kind(
        "device.lost",
        "The card fell off the bus.",
        "The driver answered that the GPU is lost, or Xid 79.",
        "Switch the station off, reseat the card, test in another slot; a second loss rejects it.",
    ),
    Kind(
        "device.not_initialised",
        "The card is on the PCI bus, and the driver cannot start it.",
        "The bus lists the card and NVML does not, or the kernel log has RmInitAdapter failed.",
        "Check that the driver supports the card, reseat it, test in another slot; there again, it is a dead card.",
    ),
    Kind(
        "device.hang",
        "The card stopped answering under load.",
        "A step made no progress beyond its time, and its process had to be killed.",
        "Reboot the station and test again; a second hang rejects the card.",
    ),
    Kind(
        "device.crash",
        "A known-good test program crashed on the card.",
        "The worker ended by a signal or a CUDA error that a healthy card does not cause.",
        "Test again; the same end twice rejects the card.",
    ),
    Kind(
        "device.reset_required",
        "The driver asks for a reset of the card.",
        "A reading answered reset_required, or a recovery action is pending.",
        "Reset the card or reboot the station, then test again from the start.",
        subject="station",
    ),
    Kind(
        "device.firmware",
        "The card's own management processor (GSP) stopped answering.",
        "Xid 119 or 120.",
        "Switch the station off and on, test again; a second time rejects the card.",
    ),
    Kind(
        "sensor.absurd",
        "A sensor answers values that cannot be.",
        "Readings outside physical bounds (255 °C, negative watts).",
        "Reset the card and test again; a sensor that stays absurd hides what it should show.",
    ),
)

TABLE: dict[str, Kind] = {kind.code: kind for kind in _TABLE}


def kind_of(code: str) -> Kind:
    """The row for a code; `xid.N` is answered for any number. Raises UnknownDiagnosisError."""
    if code in TABLE:
        return TABLE[code]
    family, _, rest = code.partition(".")
    if family == "xid" and (rest.isdigit() or rest == "N"):
        return Kind(
            code,
            f"The driver logged Xid {rest} for this card.",
            "The kernel log or the driver's event interface.",
            "See NVIDIA's Xid catalogue for the action; test again after it.",
        )
    raise UnknownDiagnosisError(f"no diagnosis is called {code!r}; `gpucert explain` lists all of them")
