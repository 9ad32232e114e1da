"""PCI bus ids: every spelling that drivers, kernels and files use, brought to the one that records hold."""

import re

_SPELLING = re.compile(
    r"(?:PCI:)?(?P<domain>[0-9a-f]{1,8}):(?P<bus>[0-9a-f]{1,2}):(?P<device>[0-9a-f]{1,2})(?:\.(?P<function>[0-7]))?",
    re.IGNORECASE,
)


def normal(text: str) -> str | None:
    """`00000000:65:00.0` for any spelling (4 or 8 digits of domain, upper case, no function), None for other text.

    A missing function means 0, because the kernel log leaves it out and a GPU is always function 0.
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        return None
    domain, bus, device = (int(match[part], 16) for part in ("domain", "bus", "device"))
    return f"{domain:08x}:{bus:02x}:{device:02x}.{match['function'] or '0'}"
