"""torchvision beside a torch that it was not built for.

The registry's torchvision is built for CUDA. Beside a CPU torch its compiled operators do not load, and its import
fails on two that it only annotates, nms and qnms. Nothing here uses them: declared, they let the import pass. Whoever
imports torchvision, or a library that does (timm, open_clip, pyiqa, transformers, diffusers), calls `ready` first.
"""

import importlib
import importlib.util
import sys
import warnings
from functools import cache
from typing import Any

# Declarations last as long as this object.
_declared: list[Any] = []


@cache
def ready() -> None:
    """Make `import torchvision` work, with its own operators where they load; does nothing where it is not installed.

    Raises what that import raises when something else is wrong with it.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms does not exist" not in str(error):
                raise
            declare()
            importlib.import_module("torchvision")


def declare() -> None:
    """Declare the two operators, and forget the import that failed for want of them."""
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
