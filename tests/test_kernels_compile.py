"""Every kernel compiles for every supported architecture, with the options that CuPy gives, and without a warning."""

import ctypes
import importlib.util
import re
import struct
from pathlib import Path

import pytest

from gpucert.stress import answers, kernels

LIBRARIES = {12: "cuda_nvrtc/lib/libnvrtc.so.12", 13: "cu13/lib/libnvrtc.so.13"}
PACKAGES = {12: "nvidia-cuda-nvrtc-cu12", 13: "nvidia-cuda-nvrtc"}
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
DEPRECATION = re.compile(r"nvrtc: warning: Architectures prior to .* are deprecated .*\n")


def nvrtc(major: int) -> ctypes.CDLL:
    """The run-time compiler of one CUDA release, or a skip that says which package is missing."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders if (path := Path(folder) / LIBRARIES[major]).exists()]
    if not found:
        pytest.skip(f"NVRTC of CUDA {major} is not installed: pip install {PACKAGES[major]}")
    return ctypes.CDLL(str(found[0]))


def compiled(library: ctypes.CDLL, text: str, architecture: int) -> tuple[bytes, str]:
    """The binary for an architecture and the compiler's log. Fails with the log when it does not compile."""
    options = [option.encode() for option in _options(architecture)]
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None) == 0
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    log = _answer(library, program, "ProgramLog").rstrip(b"\0").decode()
    assert status == 0, log
    return _answer(library, program, "CUBIN"), log


def _options(architecture: int) -> tuple[str, ...]:
    return (*kernels.OPTIONS, *CUPY_OPTIONS, f"-arch=sm_{architecture}")


def _answer(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    buffer = ctypes.create_string_buffer(size.value)
    assert getattr(library, f"nvrtcGet{what}")(program, buffer) == 0
    return buffer.raw


NEW = [one for one in kernels.ARCHITECTURES if one >= kernels.FIRST_OF_CUDA_13]
BY_RELEASE = {12: [one for one in kernels.ARCHITECTURES if one not in NEW] + [NEW[0], 90, NEW[-1]], 13: NEW}
"""What each release compiles for: every architecture by one of them, and some by both."""
CASES = [
    pytest.param(major, architecture, id=f"cuda{major}-sm_{architecture}")
    for major, architectures in BY_RELEASE.items()
    for architecture in architectures
]


@pytest.mark.parametrize(("major", "architecture"), CASES)
@pytest.mark.parametrize("name", sorted(kernels.ENTRIES))
def test_compiles_without_a_warning(name: str, major: int, architecture: int) -> None:
    binary, log = compiled(nvrtc(major), kernels.source(name), architecture)
    assert DEPRECATION.sub("", log).strip() == ""
    for entry in kernels.ENTRIES[name]:
        assert f".text.{entry}\0".encode() in binary


REGISTERS, FRAME = 0x2F, 0x11
"""Attributes of a kernel in `.nv.info`: registers of a thread, and bytes of stack; each with the kernel's symbol."""


def attributes(binary: bytes, which: int) -> list[int]:
    """The values of one attribute for all kernels of a binary (an ELF file of 64 bits)."""
    (table,) = struct.unpack_from("<Q", binary, 40)
    count, names = struct.unpack_from("<HH", binary, 60)
    heads = [struct.unpack_from("<IIQQQQIIQQ", binary, table + 64 * number) for number in range(count)]
    texts = binary[heads[names][4] :]
    (info,) = (head for head in heads if texts[head[0] :].partition(b"\0")[0] == b".nv.info")
    found, at, end = [], info[4], info[4] + info[5]
    while at < end:
        form, attribute, size = struct.unpack_from("<BBH", binary, at)
        if form == 4 and attribute == which:
            found.append(struct.unpack_from("<II", binary, at + 4)[1])
        at += 4 + (size if form == 4 else 0)
    return found


@pytest.mark.parametrize(("major", "architecture"), [(12, 60), (12, 70), (13, 80), (13, 90), (13, 120)])
def test_registers_are_asked_in_registers_and_nothing_is_spilled(major: int, architecture: int) -> None:
    """192 values in each of 256 threads fill three quarters of the register file, if the compiler leaves them there."""
    binary, _ = compiled(nvrtc(major), kernels.source("sm_answers_moves"), architecture)
    assert max(attributes(binary, REGISTERS)) > answers.HELD
    assert set(attributes(binary, FRAME)) == {0}


def test_the_compiler_would_have_complained() -> None:
    with pytest.raises(AssertionError, match="undefined"):
        compiled(nvrtc(13), kernels.source("memory_scan") + "KERNEL broken() { undefined(); }\n", 90)


def test_every_kernel_in_the_sources_is_listed_and_the_other_way_round() -> None:
    for name, entries in kernels.ENTRIES.items():
        assert tuple(re.findall(r"^KERNEL (\w+)\(", kernels.source(name), re.MULTILINE)) == entries
    folder = Path(kernels.__file__).parent
    assert {path.stem for path in folder.glob("*.cu")} == set(kernels.ENTRIES)


def test_only_device_cuh_touches_the_hardware() -> None:
    folder = Path(kernels.__file__).parent
    forbidden = re.compile(r"\basm\b|__\w+\(|threadIdx|blockIdx|gridDim|\batomic\w+\(|#include <|#include_next")
    for path in [*folder.glob("*.cu"), *folder.glob("*.cuh")]:
        if path.name != "device.cuh":
            assert not forbidden.search(path.read_text(encoding="utf-8")), path.name


def test_nothing_is_left_to_include_and_nothing_comes_twice() -> None:
    for name in kernels.ENTRIES:
        text = kernels.source(name)
        assert "#include" not in text
        assert text.count("#ifndef GPUCERT_DEVICE") == 1
