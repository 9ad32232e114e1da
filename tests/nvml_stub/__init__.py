"""A driver library of our own, compiled against nvml.h, and a process that reads cards through it many times."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")
UUID = "GPU-513536b6-7d19-9063-b049-1e69664bb298"
KINDS = {"new": [], "old": ["-DOLD_DRIVER"], "bare": ["-DBARE"]}
LIBRARY = "libnvidia-ml.so.1"


def header() -> Path:
    """nvml.h of the wheel nvidia-nvml-dev, which is among the packages that tests need."""
    files = importlib.metadata.files("nvidia-nvml-dev") or []
    return next(Path(str(one.locate())) for one in files if one.name == "nvml.h")


def build(folder: Path, *flags: str) -> Path:
    """The library in a folder for LD_LIBRARY_PATH. Warnings are errors, because the header declares every function."""
    assert COMPILER is not None
    strict = ("-Wall", "-Wextra", "-Wmissing-prototypes", "-Werror")
    command = [COMPILER, "-shared", "-fPIC", *strict, *flags, "-I", header().parent, "-o", folder / LIBRARY]
    subprocess.run([*command, HERE / "nvml_stub.c"], check=True)
    return folder


class Station:
    """A process that reads cards through a library, and through a binding that may be of another age."""

    def __init__(self, library: Path, binding: Path | None = None) -> None:
        environment = os.environ | {"LD_LIBRARY_PATH": str(library)}
        if binding is not None:
            environment["PYTHONPATH"] = str(binding)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "reader.py")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, which: str = "0", *, changes: dict[str, Any] | None = None, **script: str) -> Any:
        """Everything that a card tells, by part; or `raised` and `text`. `changes` to the binding hold for once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"which": which, "script": script, "changes": changes or {}}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the reader died of {question}"
        return json.loads(answer)

    def read(self, which: str = "0", *, changes: dict[str, Any] | None = None, **script: str) -> Any:
        """What a card tells that can be opened."""
        told = self.ask(which, changes=changes, **script)
        assert "raised" not in told, told
        return told

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=20)


def readings(told: Any) -> dict[str, Any]:
    """Every reading of a card, by part and field."""
    flat = {"processes": told["processes"], "nvlinks": told["nvlinks"]}
    for part in ("identity", "settings", "counters", "sample"):
        flat |= {f"{part}.{name}": value for name, value in told[part].items() if name not in ("at_s", "window_mib")}
    return flat


def absent(reading: Any) -> str | None:
    """The reason why there is no value, None where there is one."""
    return reading.get("absent") if isinstance(reading, dict) else None
