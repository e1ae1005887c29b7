"""DINO ViT-B/16 (Caron et al., 2021): features of subject_consistency. Weights: dino_vitbase16_pretrain.pth."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import OriginalVit, prefixed, vit_base


@networks.register("dino")
class Dino(Network):
    """Frames [n, 3, H, W], ImageNet-normalized, any size -> normalized class tokens [n, 768]."""

    name = "dino"
    artefacts = ("dino-vitb16",)
    packages = ("torchvision", "timm")

    def build(self) -> nn.Module:
        return OriginalVit(vit_base(224, 16))

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        return prefixed(published["dino-vitb16"], "vit.")
