"""Triton kernels for CUDA devices, one a file, each held to a plain torch function that defines what it computes.

The only folder that imports Triton. A module here imports it at the top, so callers import the module when they are
about to launch it, after `has_triton()`. Tests run the kernels on a CPU in Triton's interpreter (TRITON_INTERPRET=1).
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
    """Whether kernels can be launched: Triton is installed, as with every CUDA build of torch, and so are a C compiler
    and Python's headers, with which it builds a launcher for each kernel."""
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return find_spec("triton") is not None and compiler is not None and headers.is_file()


def used_on(device: "torch.device") -> bool:
    """Whether kernels run on this device, rather than the plain forms."""
    return device.type == "cuda" and has_triton()
