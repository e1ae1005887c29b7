"""Plug-ins: methods, metrics, backbones and suites in Python files or packages outside Longtake.

Owns where a plug-in is found, how it gets into a process, and its hash. A file's source is read once, in the driver;
its bytes travel with the construction of each worker, so that no other node needs the file. A module of a package must
be installed on every node, where its hash is checked. Invariant: an edited plug-in never keeps an old take id or an old
score, since `fingerprint` is part of both.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import linecache
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from longtake.platform import registry
from longtake.platform.errors import ConfigError
from longtake.platform.registry import Registry, import_errors
from longtake.platform.settings.config import load_yaml
from longtake.platform.store import durable

W = TypeVar("W")
installed: dict[str, Plugin] = {}
"""The plug-ins of this process, by the name of their module."""


@dataclass(frozen=True)
class Plugin:
    """One module. `source`: the text of a file, which workers are sent; None for a module of an installed package."""

    name: str
    file: str
    sha256: str
    source: str | None = None

    @property
    def parts(self) -> list[tuple[str, str]]:
        """What it registered: (noun, name)."""
        return [(each.noun, name) for each in Registry.every for name in each.made_in(self.name.partition(".")[0])]

    def install(self) -> None:
        """Import it in this process, unless this version is installed. Raises ConfigError; a failure leaves nothing."""
        if self.name in installed and installed[self.name].sha256 == self.sha256:
            return
        self.remove()
        try:
            with import_errors(self.name, self.file):
                self.run() if self.source is not None else importlib.import_module(self.name)
        except ConfigError:
            self.remove()
            raise
        if self.source is None and package_sha256(self.name) != self.sha256:
            raise ConfigError(f"{self.name}: differs from the driver's version; install the same version on every node")
        installed[self.name] = self

    def run(self) -> None:
        assert self.source is not None
        module = sys.modules[self.name] = ModuleType(self.name)
        module.__file__ = self.file
        linecache.cache[self.file] = (len(self.source), None, self.source.splitlines(keepends=True), self.file)
        exec(compile(self.source, self.file, "exec"), module.__dict__)

    def remove(self) -> None:
        """Undo `run`, of this version or another."""
        if self.source is not None:
            installed.pop(self.name, None)
            sys.modules.pop(self.name, None)
            for each in Registry.every:
                each.forget(self.name)


@dataclass(frozen=True)
class Plugins:
    """The plug-ins that a sweep names, behind the files that they import. Unpickling installs them, before what is
    pickled after them."""

    names: tuple[str, ...] = ()
    modules: tuple[Plugin, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return install, (self.names, self.modules)

    def worker(self, kind: Callable[..., W], *arguments: Any) -> W:
        """`kind(*arguments)`, in a process that has the plug-ins."""
        return kind(*arguments)

    def keep(self, folder: Path) -> None:
        """Write the files beside the resolved sweep in `folder`, which finds them there. Raises StorageError."""
        for one in self.modules:
            if one.source is not None:
                durable.replace_file(folder / f"{one.name}.py", one.source.encode())


NONE = Plugins()


def install(names: tuple[str, ...], modules: tuple[Plugin, ...]) -> Plugins:
    """Install modules in their order. Raises ConfigError."""
    for one in modules:
        one.install()
    return Plugins(names, modules)


def load(names: Sequence[str], beside: Path) -> Plugins:
    """Find and install the plug-ins that the file `beside` names. Raises ConfigError."""
    modules: dict[str, Plugin] = {}
    named = [find(name, beside, modules) for name in names]
    found = install(tuple(one.name for one in named), tuple(modules.values()))
    for one in named:
        if not one.parts:
            raise ConfigError(
                f"{one.file}:1: registers nothing; give a part a name, as in @methods.register('my-name')"
            )
    return found


def load_kept(sweep_file: Path) -> Plugins:
    """The plug-ins beside a resolved sweep: reading its results runs their code. Raises ConfigError."""
    return load(load_yaml(sweep_file).get("plugins") or [] if sweep_file.is_file() else [], sweep_file)


def find(name: str, beside: Path, modules: dict[str, Plugin]) -> Plugin:
    """`my_module`, `my_module.py` or a path relative to the file `beside`; else an importable module."""
    path = beside.parent / (name if name.endswith(".py") else f"{name}.py")
    if path.is_file():
        return read(path, modules)
    if "/" in name or spec_of(name) is None:
        raise ConfigError(f"{beside}: plugins: neither a file {path} nor a module {name!r} exists; correct the name")
    with import_errors(name):
        return modules.setdefault(name, Plugin(name, name, package_sha256(name)))


def read(path: Path, modules: dict[str, Plugin]) -> Plugin:
    """The plug-in in a file, appended to `modules` behind the files beside it that it imports; its hash is over them
    too. Raises ConfigError if the name is not a valid module name, or is taken."""
    name, file = path.stem, str(path.absolute())
    if name in modules and modules[name].file == file:
        return modules[name]
    if not name.isidentifier():
        raise ConfigError(f"{path}: {name!r} is not a valid Python module name; rename it to letters, digits and _")
    if name in modules or (name not in installed and is_taken(name, file)):
        raise ConfigError(f"{path}: another module already has the name {name!r}; rename the file")
    try:
        source = path.read_bytes()
        plugin = modules[name] = Plugin(name, file, hashlib.sha256(source).hexdigest(), source.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; save it as UTF-8") from error
    helpers = [read(helper, modules) for helper in imported(plugin)]
    if helpers:
        hashes = " ".join([plugin.sha256, *(helper.sha256 for helper in helpers)])
        plugin = replace(plugin, sha256=hashlib.sha256(hashes.encode()).hexdigest())
    del modules[name]
    return modules.setdefault(name, plugin)


def is_taken(name: str, file: str) -> bool:
    """Whether Python has another module of this name."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) != file
    spec = spec_of(name)
    return spec is not None and spec.origin not in (None, file)


def imported(plugin: Plugin) -> list[Path]:
    """The files beside a plug-in that it imports."""
    try:
        nodes = list(ast.walk(ast.parse(plugin.source or "")))
    except SyntaxError:
        return []  # its import says where
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    paths = [Path(plugin.file).with_name(f"{name}.py") for name in sorted(names - {plugin.name})]
    return [path for path in paths if path.is_file()]


def spec_of(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


@cache
def package_sha256(module: str) -> str:
    """Over every Python file of the package that an installed module belongs to, or over the one file that it is."""
    top = importlib.import_module(module.partition(".")[0])
    folders = [Path(folder) for folder in getattr(top, "__path__", [])]
    files = {str(path.relative_to(folder)): path for folder in folders for path in folder.rglob("*.py")}
    digest = hashlib.sha256()
    for name, path in sorted((files or {"": Path(str(top.__file__))}).items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def fingerprint(*parts: type) -> dict[str, str]:
    """`plugin.<module>` -> sha256 of the plug-ins that define these classes or their bases; none for what ships."""
    modules = {base.__module__ for part in parts for base in part.__mro__}
    files = {name: one.sha256 for name, one in installed.items() if name in modules and one.source is not None}
    packages = {point.value.partition(":")[0] for point in registry.announced or ()} | (installed.keys() - files.keys())
    tops = {name.partition(".")[0] for name in packages} & {name.partition(".")[0] for name in modules}
    return {
        f"plugin.{name}": digest
        for name, digest in sorted((files | {top: package_sha256(top) for top in tops}).items())
    }


def mark(part: type) -> str:
    """What follows the version of a part of a plug-in: its hash; nothing for what ships."""
    return "".join(f"+{name}:{digest[:16]}" for name, digest in fingerprint(part).items())
