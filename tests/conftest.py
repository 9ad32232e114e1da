"""What holds for every test."""

import signal

import pytest

# A runner in the background starts with Ctrl-C ignored, and so would every child that a test wants to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their place: gzip writes the time into them, and all processes must see one name."""
    return argname if isinstance(val, bytes) else None
