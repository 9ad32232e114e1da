"""gpucert: load a used GPU with work whose answers are known, and certify what was proved about it."""


def installed_version() -> str:
    """The version of the installed package, or "unknown" when run from an uninstalled tree."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gpucert")
    except PackageNotFoundError:
        return "unknown"
