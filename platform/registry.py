"""Registries of pluggable parts: one folder, one file per part, one decorator.

A registry maps user-visible names to the classes of one package. The package's modules (not its subpackages, which hold
what parts share), and the plug-ins that installed packages declare as entry points, are imported at the first look-up,
so that `longtake --help` is fast. Import errors are raised, so that a part that cannot be imported is not silently
missing.
"""

import difflib
import importlib
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, TypeVar

from longtake.platform.errors import ConfigError, brief

T = TypeVar("T")
U = TypeVar("U")
GROUP = "longtake.plugins"
"""The entry points of installed packages that hold plug-ins."""
announced: list[EntryPoint] | None = None
"""Those that this process has imported; None before the first look-up."""


def did_you_mean(name: str, known: list[str], possible: list[str] | None = None) -> str:
    """'did you mean 'rag'? known: native, rag', the end of every message about an unknown name. `possible`: what the
    near name is chosen from, if names are put together from the known ones."""
    near = difflib.get_close_matches(name, known if possible is None else possible, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


class Registry(Generic[T]):
    """Maps names to parts of `package`; `noun`: the kind of part in messages ('method', 'metric', ...)."""

    every: ClassVar[list["Registry[Any]"]] = []

    def __init__(self, noun: str, package: str) -> None:
        Registry.every.append(self)
        self.noun = noun
        self.package = package
        self._items: dict[str, T] = {}
        self._former: dict[str, str] = {}
        self._loaded = False

    def register(self, name: str, *former: str) -> Callable[[U], U]:
        """Decorator that registers a part under a name. Raises ValueError if another part has this name. `former`:
        earlier names, which `get` still accepts and `names` omits."""

        def add(item: U) -> U:
            if not _origin(item).startswith(f"{self.package}."):
                self._load_package()  # the shipped parts have their names first
            other = self._items.get(self._former.get(name, name))
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

    def made_in(self, module: str) -> list[str]:
        """The names of the parts that a module or package defines, in the order of their registration."""
        return [name for name, item in self._items.items() if _origin(item).startswith(f"{module}.")]

    def forget(self, module: str) -> None:
        """Drop what a module registered: another version of it is about to be imported, or it failed."""
        for name in self.made_in(module):
            del self._items[name]
            self._former = {former: now for former, now in self._former.items() if now != name}

    def _load(self) -> None:
        self._load_package()
        load_entry_points()

    def _load_package(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.ispkg:
                importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True


def _origin(item: object) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', repr(item))}"


def load_entry_points() -> None:
    """Import the plug-ins of installed packages, once per process. Raises ConfigError for one that fails."""
    global announced
    if announced is not None:
        return
    announced = list(entry_points(group=GROUP))
    try:
        for point in announced:
            with import_errors(f"entry point {point.name} = {point.value}"):
                point.load()
    except ConfigError:
        announced = None  # the next look-up fails too
        raise


@contextmanager
def import_errors(plugin: str, file: str = "") -> Iterator[None]:
    """Turns whatever the import of a plug-in raises into a ConfigError of one line, with the line of its file."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError):
            frames.append((error.filename or "", error.lineno))
        own = [f"{name}:{line}" for name, line in frames if (name == file if file else name != __file__)]
        reason = brief(f"{type(error).__name__}: {error}")
        raise ConfigError(
            f"{own[-1] if own else plugin}: the plug-in cannot be imported: {reason}; fix it and run again"
        ) from error
