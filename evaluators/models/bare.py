"""Imports single modules of a package without running the package's `__init__`.

vbench and pyiqa import many libraries at start-up and pin versions that conflict with this project's. The few modules
used here import little. They are imported below empty parent packages that only know the folder of the files. The empty
parents are removed afterwards, so that a later import gets the real package.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import Any

from longtake.platform.errors import SetupError
from longtake.platform.machine.vision_ops import ready


@cache
def bare_attribute(module: str, attribute: str, *shells: str) -> Any:
    """`attribute` of `module`, imported with empty packages in place of `shells` (outer package first).

    Raises SetupError if the package is not installed or has other files than expected.
    """
    ready()
    try:
        with bare(shells):
            return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SetupError(f"{module}.{attribute} cannot be imported ({error}); run longtake doctor") from error


@contextmanager
def bare(shells: tuple[str, ...]) -> Iterator[None]:
    """A context in which `shells` are empty packages; on exit, restores sys.modules for the first one and below."""
    top = shells[0]
    before = take_out(top)
    try:
        for name in shells:
            sys.modules[name] = module_from_spec(shell_spec(name))
        yield
    finally:
        take_out(top)
        sys.modules.update(before)


def take_out(top: str) -> dict[str, Any]:
    names = [name for name in sys.modules if name == top or name.startswith(f"{top}.")]
    return {name: sys.modules.pop(name) for name in names}


def shell_spec(name: str) -> ModuleSpec:
    """A package without code, with the folder of the installed one. The search itself runs no package code."""
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"no package {name}")
    shell = ModuleSpec(name, None, is_package=True)
    shell.submodule_search_locations = spec.submodule_search_locations
    return shell
