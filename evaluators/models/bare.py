"""Classes out of packages whose own start-up must not run.

vbench and pyiqa import half of machine learning when they are imported, and pin versions that cannot stand beside ours.
The few files that are needed from them import little. They are imported below empty parent packages that only know
where the files lie, and those parents are taken away again, so that whoever imports the real package gets it.
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
from longtake.platform.vision_ops import ready


@cache
def bare_attribute(module: str, attribute: str, *shells: str) -> Any:
    """`attribute` of the file of `module`, with the packages `shells` (outer first) emptied of their start-up.

    Raises SetupError when the package is not installed or its files are not as expected.
    """
    ready()
    try:
        with bare(shells):
            return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SetupError(f"{module}.{attribute} cannot be imported ({error}); run longtake doctor") from error


@contextmanager
def bare(shells: tuple[str, ...]) -> Iterator[None]:
    """Within it, `shells` are empty packages; after it, sys.modules is as before for everything below the first."""
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
    """A package without code, over the folder of the installed one. Looking for it runs only shells."""
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"no package {name}")
    shell = ModuleSpec(name, None, is_package=True)
    shell.submodule_search_locations = spec.submodule_search_locations
    return shell
