"""What CuPy finds of the CUDA toolkit on this station, asked without touching a card.

CuPy imports where neither driver nor toolkit is installed; its libraries are loaded when they are first used. So each
is used once here, and a small program is compiled, which needs no card.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TROUBLES = (ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError)
"""What a CuPy that is broken, or does not fit its NumPy, raises; library errors of CUDA are RuntimeErrors."""
_PROGRAM = 'extern "C" __global__ void nothing() {}'


@dataclass(frozen=True)
class Part:
    """One part of the toolkit: its version, or what is wrong with it."""

    name: str
    version: str = ""
    trouble: str = ""


def parts() -> Iterator[Part]:
    """CuPy, the CUDA release it was built for, NVRTC with the architectures it compiles for, a compilation, cuBLAS.

    The version of `architectures` is a list of compute capabilities without the dot: `75 80 86`.
    """
    cupy = _tell("cupy", _cupy)
    yield cupy
    if cupy.trouble:
        return
    yield _tell("cuda", _cuda)
    nvrtc = _tell("nvrtc", _nvrtc)
    yield nvrtc
    if not nvrtc.trouble:
        yield _tell("architectures", _architectures)
        yield _tell("compilation", _compilation)
    yield _tell("cublas", _cublas)


def _tell(name: str, ask: Callable[[], str]) -> Part:
    try:
        return Part(name, version=ask())
    except _TROUBLES as error:
        return Part(name, trouble=_first_line(error))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _cupy() -> str:
    import cupy

    return str(cupy.__version__)


def _cuda() -> str:
    from cupy.cuda import runtime

    version = int(runtime.runtimeGetVersion())
    return f"{version // 1000}.{version % 1000 // 10}"


def _nvrtc() -> str:
    from cupy.cuda import nvrtc

    return ".".join(str(part) for part in nvrtc.getVersion())


def _architectures() -> str:
    from cupy.cuda import nvrtc

    return " ".join(str(one) for one in nvrtc.getSupportedArchs())


def _compilation() -> str:
    from cupy.cuda import nvrtc

    newest = max(int(one) for one in nvrtc.getSupportedArchs())
    program = nvrtc.createProgram(_PROGRAM, "nothing.cu", (), ())
    nvrtc.compileProgram(program, (f"-arch=sm_{newest}",))
    nvrtc.destroyProgram(program)
    return f"sm_{newest}"


def _cublas() -> str:
    """As an attribute of the package, because that loads the library first; an import by its full name does not."""
    from cupy_backends.cuda.libs import cublas

    return "loaded" if cublas.create else "empty"
