"""Triton kernels for CUDA devices, one per file, each tested against a plain torch function that defines its result.

The only folder that imports Triton. Its modules import Triton when they are loaded, so callers import a module just
before they launch its kernel, after `has_triton()`. Tests run the kernels on a CPU in Triton's interpreter
(TRITON_INTERPRET=1).
"""

import os
import shutil
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def has_triton() -> bool:
    """Whether kernels can be launched. This needs Triton, which CUDA builds of torch include, and a C compiler and
    Python's headers, with which Triton builds a launcher for each kernel; both are looked for where Triton looks."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # Debian's own Python
    headers = Path(sysconfig.get_paths(scheme)["include"]) / "Python.h"
    return find_spec("triton") is not None and compiler is not None and headers.is_file()


def used_on(device: "torch.device") -> bool:
    """Whether this device runs the kernels instead of the plain forms."""
    return device.type == "cuda" and has_triton()
