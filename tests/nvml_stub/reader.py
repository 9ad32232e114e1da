"""Reads cards as often as it is asked: a JSON question a line names card, script of the library, changed binding."""

import builtins
import ctypes
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pynvml

from gpucert.device import nvml


def read(which: str) -> dict[str, Any]:
    """Everything that a card tells."""
    gpu = nvml.attach(which, watch=True)
    told = {
        "identity": gpu.identity(),
        "settings": gpu.settings(),
        "counters": gpu.counters(),
        "nvlinks": gpu.nvlinks(),
    }
    before = calls()
    told |= {"sample": gpu.sample(1.5), "calls_of_sample": calls() - before}
    told |= {"processes": gpu.processes(), "events": gpu.events(), "events_again": gpu.events(), "calls": calls()}
    gpu.close()
    gpu.close()
    return told


def calls() -> int:
    """How many questions about the healthy card the library has counted since it was started."""
    return int(getattr(pynvml, "nvmlLib").stub_calls())  # noqa: B009  # untyped


def changed(kind: str, value: Any) -> Callable[..., Any]:
    """A function that does not do what it should."""
    match kind:
        case "raises":
            error = getattr(builtins, value, None) or getattr(ctypes, value)

            def raising(*_arguments: object) -> None:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd") if error is UnicodeDecodeError else error("odd")

            return raising
        case "takes_nothing":
            return lambda: None
        case _:
            return lambda *_arguments: value


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """One reading under one script; afterwards everything is as before."""
    kept: dict[str, Any] = {}
    os.environ.update(question["script"])
    for name, change in question["changes"].items():
        if hasattr(pynvml, name):
            kept[name] = getattr(pynvml, name)
        if change == "gone":
            delattr(pynvml, name) if name in kept else None
        elif isinstance(change, dict):
            ((kind, value),) = change.items()
            setattr(pynvml, name, changed(kind, value))
        else:
            setattr(pynvml, name, change)
    try:
        return read(question["which"])
    except (nvml.NoDriverError, nvml.NoSuchGpuError) as error:
        return {"raised": type(error).__name__, "text": str(error)}
    finally:
        for name in question["script"]:
            del os.environ[name]
        for name, value in kept.items():
            setattr(pynvml, name, value)


def main() -> None:
    """Until there are no more questions."""
    for line in sys.stdin:
        print(msgspec.json.encode(answer(json.loads(line))).decode(), flush=True)


if __name__ == "__main__":
    main()
