"""Triton kernels for CUDA devices, one a file, each held to a plain torch function that defines what it computes.

The only folder that imports Triton. A module here imports it at the top, so callers import the module when they are
about to launch it, after `has_triton()`. Tests run the kernels on a CPU in Triton's interpreter (TRITON_INTERPRET=1).
"""

from functools import cache
from importlib.util import find_spec


@cache
def has_triton() -> bool:
    """Whether Triton is installed. It comes with CUDA builds of torch, and not with CPU builds."""
    return find_spec("triton") is not None
