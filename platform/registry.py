"""Registries of pluggable parts: one folder, one file per part, one decorator.

A registry maps user-visible names to the classes of one package. The package's modules are imported at the first
look-up, so that `longtake --help` is fast. Import errors are raised, so that a part that cannot be imported is not
silently missing.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from longtake.platform.errors import ConfigError

T = TypeVar("T")
U = TypeVar("U")


def did_you_mean(name: str, known: list[str]) -> str:
    """'did you mean 'rag'? known: native, rag', the end of every message about an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


class Registry(Generic[T]):
    """Maps names to parts of `package`; `noun`: the kind of part in messages ('method', 'metric', ...)."""

    def __init__(self, noun: str, package: str) -> None:
        self.noun = noun
        self.package = package
        self._items: dict[str, T] = {}
        self._former: dict[str, str] = {}
        self._loaded = False

    def register(self, name: str, *former: str) -> Callable[[U], U]:
        """Decorator that registers a part under a name. Raises ValueError if another part has this name. `former`:
        earlier names, which `get` still accepts and `names` omits."""

        def add(item: U) -> U:
            other = self._items.get(name)
            if other is not None and _origin(other) != _origin(item):
                raise ValueError(f"{self.noun} {name!r} is registered twice: {_origin(other)} and {_origin(item)}")
            self._items[name] = item  # type: ignore[assignment]
            self._former |= dict.fromkeys(former, name)
            return item

        return add

    def get(self, name: str) -> T:
        """The part called `name`. Raises ConfigError with the closest and all known names."""
        name, *_ = self.names_of(given := name)
        if name not in self._items:
            raise ConfigError(f"unknown {self.noun} {given!r}; {did_you_mean(given, self.names())}")
        return self._items[name]

    def names_of(self, name: str) -> list[str]:
        """All names of the part called `name`: the present one, then former ones."""
        self._load()
        present = self._former.get(name, name)
        return [present, *(former for former, now in self._former.items() if now == present)]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._items)

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True


def _origin(item: object) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', repr(item))}"
