"""The shelf: every model of the catalogue, found by its key or by what a card answers about itself."""

import re
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from gpucert.catalogue import pci_names
from gpucert.catalogue.matching import Answers, Match, identify
from gpucert.catalogue.model import Model

__all__ = ["CatalogueError", "Match", "UnknownModelError", "every", "get", "keys", "match", "parse", "slug"]


class CatalogueError(ValueError):
    """A file of the catalogue cannot be read as a model; the text names the file and the field."""


class UnknownModelError(LookupError):
    """No model has this key; the text offers the nearest ones."""


def slug(key: str) -> str:
    """The file name of a key, less its ending: lower case, a hyphen for everything that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")


def parse(text: str, source: str) -> Model:
    """Read one model from TOML; `source` names it in errors. Raises CatalogueError."""
    try:
        return msgspec.toml.decode(text, type=Model)
    except msgspec.DecodeError as error:
        raise CatalogueError(f"{source}: {error}") from error


@cache
def every() -> tuple[Model, ...]:
    """All models, ordered by key."""
    found = (_read(file) for file in _data().iterdir() if file.name.endswith(".toml"))
    return tuple(sorted(found, key=lambda model: model.key))


def keys() -> tuple[str, ...]:
    """The keys of all models, ordered."""
    return tuple(model.key for model in every())


@cache
def get(key: str) -> Model:
    """The model of a key, read from its own file alone. Raises UnknownModelError."""
    file = _data() / f"{slug(key)}.toml"
    if file.is_file() and (model := _read(file)).key == key:
        return model
    nearest = get_close_matches(key, keys(), n=3, cutoff=0.4)
    offer = f"did you mean {' or '.join(repr(near) for near in nearest)}?" if nearest else "none comes near"
    raise UnknownModelError(f"no model {key!r} in the catalogue: {offer}")


def match(
    *,
    name: str | None,
    device: str | None,
    subvendor: str | None,
    subdevice: str | None,
    memory_mib: int | None,
    cuda_cores: int | None,
) -> Match:
    """The model of a card from its answers; None stands for an answer that is absent, see `matching.identify`."""
    return _matched(
        Answers(
            name=name,
            device=device and device.lower(),
            subvendor=subvendor and subvendor.lower(),
            subdevice=subdevice and subdevice.lower(),
            memory_mib=memory_mib,
            cuda_cores=cuda_cores,
        )
    )


@lru_cache(maxsize=256)
def _matched(answers: Answers) -> Match:
    """Kept for the next card of the same kind."""
    return identify(every(), answers, pci_names.name_of)


def _data() -> Traversable:
    return files("gpucert.catalogue") / "data"


def _read(file: Traversable) -> Model:
    return parse(file.read_text("utf-8"), file.name)
