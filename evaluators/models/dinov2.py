"""DINOv2 ViT-B/14 (Oquab et al., 2023) for subject_consistency between clips. Weights: dinov2_vitb14_pretrain.pth."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import OriginalVit, prefixed, vit_base


@networks.register("dinov2")
class DinoV2(Network):
    """Frames [n, 3, 224, 224], ImageNet-normalized -> normalized class tokens [n, 768]. Trained at 518."""

    name = "dinov2"
    artefacts = ("dinov2-vitb14",)
    packages = ("torchvision", "timm")

    def build(self) -> nn.Module:
        return OriginalVit(vit_base(518, 14, init_values=1.0))

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        """All tensors except the mask token, which only training uses."""
        kept = {name: value for name, value in published["dinov2-vitb14"].items() if name != "mask_token"}
        return prefixed(kept, "vit.")
