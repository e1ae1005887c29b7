"""Makes torchvision importable with a build of torch that it was not built for.

The torchvision of PyPI is built for CUDA. With a CPU build of torch its compiled operators do not load, and its import
fails on two operators that it only annotates, nms and qnms. Longtake uses neither, so declaring them lets the import
succeed. Call `ready` before importing torchvision or a library that imports it (timm, open_clip, transformers, ...).
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
    """Make `import torchvision` work, with its own operators if they load. Does nothing if it is not installed.

    Raises the error of the import if it fails for another reason.
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
    """Declare the two missing operators, and remove the modules of the failed import."""
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
