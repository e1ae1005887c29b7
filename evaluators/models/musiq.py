"""MUSIQ trained on SPAQ (Ke et al., 2021), from pyiqa, for imaging_quality. Weights: musiq_spaq_ckpt-358bb6af.pth."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from longtake.evaluators.models.bare import bare_attribute
from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.evaluators.models.vit import prefixed


class MeanOpinion(nn.Module):
    """Frames [n, 3, H, W], RGB 0..1, any size -> mean opinion scores [n], about 0 to 100."""

    def __init__(self, musiq: nn.Module):
        super().__init__()
        self.musiq = musiq

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        scores: Tensor = self.musiq(frames_NCHW)
        return scores.flatten()


@networks.register("musiq")
class Musiq(Network):
    name = "musiq"
    artefacts = ("musiq-spaq",)
    packages = ("torchvision", "pyiqa", "huggingface_hub", "requests", "scipy", "tqdm")

    def build(self) -> nn.Module:
        shells = ("pyiqa", "pyiqa.archs", "pyiqa.data", "pyiqa.utils")
        return MeanOpinion(bare_attribute("pyiqa.archs.musiq_arch", "MUSIQ", *shells)(pretrained=False))

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        return prefixed(published["musiq-spaq"], "musiq.")
