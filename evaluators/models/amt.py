"""AMT-S (Li et al., 2023) for motion_smoothness, from the copy in vbench. Weights: amt-s.pth.

AMT's code and weights are licensed CC BY-NC 4.0: no commercial use.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from longtake.evaluators.models.bare import bare_attribute
from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import prefixed

# cfgs/AMT-S.yaml
SIZES = {"corr_radius": 3, "corr_lvls": 4, "num_flows": 3}
# With smaller frames the coarsest correlation is one cell wide, and its sampling divides by zero.
SMALLEST = 8 * 2 ** SIZES["corr_lvls"]


class MiddleFrame(nn.Module):
    """Frames before and after [n, 3, H, W], RGB 0..1, sides multiples of 16 -> the middle frame, 0..1.

    Raises ValueError for frames under SMALLEST pixels.
    """

    def __init__(self, amt: nn.Module):
        super().__init__()
        self.amt = amt

    def forward(self, before_NCHW: Tensor, after_NCHW: Tensor) -> Tensor:
        if min(before_NCHW.shape[-2:]) < SMALLEST:
            raise ValueError(f"AMT needs {SMALLEST} pixels a side, padded; got {min(before_NCHW.shape[-2:])}")
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

        # The import sets Pillow's global LOAD_TRUNCATED_IMAGES; restore it.
        load_truncated = ImageFile.LOAD_TRUNCATED_IMAGES
        model = bare_attribute("vbench.third_party.amt.networks.AMT-S", "Model", "vbench")
        ImageFile.LOAD_TRUNCATED_IMAGES = load_truncated
        return MiddleFrame(model(**SIZES))

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        return prefixed(published["amt-s"], "amt.")
