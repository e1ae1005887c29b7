"""AMT-S (Li et al., 2023), from the copy that vbench ships: motion_smoothness. Weights: amt-s.pth.

AMT's code and weights are CC BY-NC 4.0: not for commercial use.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from longtake.evaluators.models.bare import bare_attribute
from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import prefixed

# cfgs/AMT-S.yaml
SIZES = {"corr_radius": 3, "corr_lvls": 4, "num_flows": 3}
# Smaller frames leave the coarsest correlation one cell wide, where its sampling divides by zero.
SMALLEST = 8 * 2 ** SIZES["corr_lvls"]


class MiddleFrame(nn.Module):
    """Frames before and after [n, 3, H, W], RGB 0..1, sides multiples of 16 -> the frame half-way, 0..1.

    Raises ValueError for frames under SMALLEST pixels.
    """

    def __init__(self, amt: nn.Module):
        super().__init__()
        self.amt = amt

    def forward(self, before_NCHW: Tensor, after_NCHW: Tensor) -> Tensor:
        if min(before_NCHW.shape[-2:]) < SMALLEST:
            raise ValueError(f"AMT needs {SMALLEST} pixels a side, padded; these have {min(before_NCHW.shape[-2:])}")
        half = before_NCHW.new_full((len(before_NCHW), 1, 1, 1), 0.5)
        middle: Tensor = self.amt(before_NCHW, after_NCHW, half, scale_factor=1.0, eval=True)["imgt_pred"]
        return middle


@networks.register("amt")
class Amt(Network):
    name = "amt"
    artefacts = ("amt-s",)
    packages = ("vbench", "PIL")

    def build(self) -> nn.Module:
        from PIL import ImageFile

        # A file that comes along makes Pillow accept cut-off pictures everywhere; that is not ours to decide.
        accepts = ImageFile.LOAD_TRUNCATED_IMAGES
        model = bare_attribute("vbench.third_party.amt.networks.AMT-S", "Model", "vbench")
        ImageFile.LOAD_TRUNCATED_IMAGES = accepts
        return MiddleFrame(model(**SIZES))

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        return prefixed(published["amt-s"], "amt.")
