"""The worker: one process, one step, one probe; it owns the compute context and dies with its supervisor.

Started as `python -m gpucert.run.worker PARENT RIG CONTROL CARD PULSE MEMORY`, the last four being file descriptors.
"""

import os
import sys
import threading
import time
import traceback

from gpucert.outcome import StepStatus
from gpucert.probes.bench import Probe, SkipError
from gpucert.record import Declared
from gpucert.run import deaths, processes, rig
from gpucert.run.pulse import Abort, Patience, Pulse
from gpucert.run.wire import Channel, ClosedError, Finished, Ready, StepSpec
from gpucert.run.workbench import AbortedError, CardDesk, WorkBench

UNWATCHED_S = 2.0
UNREAD_S = 3.0
"""Longer than the monitor's own patience with a temperature that cannot be read, because it can say why it ends."""
LOOK_EVERY_S = 0.1


def watch(pulse: Pulse, parent: int) -> None:
    """The watchdog: ends this process when nobody watches the card, whatever the probe is doing. Never returns."""
    heart, thermometer = Patience(UNWATCHED_S), Patience(UNREAD_S)
    while True:
        time.sleep(LOOK_EVERY_S)
        if os.getppid() != parent:
            os._exit(deaths.EXIT_ORPHANED)
        if pulse.abort is not Abort.NONE:
            os._exit(deaths.EXIT_ABORTED)
        if heart.over(pulse.beats) or thermometer.over(pulse.readings):
            os._exit(deaths.EXIT_UNWATCHED)


def perform(probe: Probe, bench: WorkBench) -> Finished:
    """Run a probe and put its end into words. This is the one place that catches everything a probe may raise."""
    try:
        probe.run(bench)
    except SkipError as skip:
        return Finished(status=StepStatus.SKIPPED, reason=str(skip) or "the probe gave no reason")
    except AbortedError as abort:
        return Finished(status=StepStatus.ABORTED, reason=str(abort))
    except ClosedError:
        os._exit(deaths.EXIT_UNWATCHED)
    except Exception as error:  # noqa: BLE001  # because a probe's own mistake must not look like the card's
        return failed(error)
    unset = bench.unset()
    return Finished(status=StepStatus.RAN, reason=f"left unset: {', '.join(unset)}" if unset else "")


def failed(error: Exception) -> Finished:
    """An exception as the table of deaths sees it; one that is not in the table is the probe's own mistake."""
    traceback.print_exception(error)
    rule = deaths.of_error(error)
    text = f"{type(error).__name__}: {error}"
    if rule is None:
        return Finished(status=StepStatus.ERROR, reason=text)
    return Finished(status=rule.status, reason=text, death=rule.kind)


def load(spec: StepSpec, parts: rig.Rig) -> Probe | Finished:
    """The step's probe, or the words for why it cannot be had."""
    try:
        return parts.probe(spec.probe)
    except Exception as error:  # noqa: BLE001  # a probe's file may raise anything when it is imported
        return failed(error)


def promises(probe: Probe) -> Ready:
    """What a probe declares, as the supervisor is told."""
    return Ready(declared=tuple(Declared(measure.name, measure.unit) for measure in probe.measures))


def work(spec: StepSpec, supervisor: Channel, monitor: Channel, pulse: Pulse, memory: int, parts: rig.Rig) -> Finished:
    """Load the probe, promise its measures, perform."""
    probe = load(spec, parts)
    if isinstance(probe, Finished):
        return probe
    supervisor.send(promises(probe))
    desk = CardDesk(monitor, spec)
    return perform(probe, WorkBench(spec, probe, supervisor, desk, pulse, parts, memory))


def main(arguments: list[str]) -> None:
    """Be bound to the parent, wait for the step, work, say how it ended and leave."""
    parent, parts, *fds = arguments
    processes.live_and_die_with(int(parent))
    control, card, pulse_fd, memory = (int(fd) for fd in fds)
    supervisor, pulse = Channel.of_fd(control), Pulse(pulse_fd)
    threading.Thread(target=watch, args=(pulse, int(parent)), daemon=True, name="watchdog").start()
    try:
        spec = supervisor.receive(StepSpec)
        supervisor.send(work(spec, supervisor, Channel.of_fd(card), pulse, memory, rig.load(parts)))
    except ClosedError:
        os._exit(deaths.EXIT_ORPHANED)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # because tidying a compute context whose card has failed can block for ever


if __name__ == "__main__":
    main(sys.argv[1:])
