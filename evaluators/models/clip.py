"""The image towers of OpenAI's CLIP (Radford et al., 2021): ViT-B/32 for background_consistency, ViT-L/14 for
aesthetic_quality. The only importer of open_clip.

Weights: the tensors `visual.*` of ViT-B-32.pt and ViT-L-14.pt, converted from half to float32. OpenAI's towers use
QuickGELU (open_clip's `ViT-*-quickgelu`); with GELU the same weights give other features.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from longtake.evaluators.models.base import Network, Tensors, networks
from longtake.platform.machine.vision_ops import ready

PREFIX = "visual."


class ClipTower(Network):
    """Frames [n, 3, 224, 224], CLIP-normalized -> projected features [n, out], not normalized.

    In half precision (as CLIP runs on CUDA) frames are half as well; norms compute in float32.
    """

    packages = ("torchvision", "timm", "open_clip")
    patch: ClassVar[int]
    width: ClassVar[int]
    layers: ClassVar[int]
    out: ClassVar[int]

    def build(self) -> nn.Module:
        ready()
        from open_clip.transformer import LayerNormFp32, QuickGELU, VisionTransformer

        return VisionTransformer(
            image_size=224,
            patch_size=self.patch,
            width=self.width,
            layers=self.layers,
            heads=self.width // 64,
            mlp_ratio=4.0,
            output_dim=self.out,
            act_layer=QuickGELU,
            norm_layer=LayerNormFp32,
        )

    def rename(self, published: Mapping[str, Tensors], settings: Mapping[str, Any]) -> dict[str, Tensor]:
        return {name.removeprefix(PREFIX): value for name, value in published[self.artefacts[0]].items()}

    def halve(self, network: nn.Module) -> None:
        from open_clip.model import convert_weights_to_fp16

        convert_weights_to_fp16(network)


@networks.register("clip-b")
class ClipB(ClipTower):
    name = "clip-b"
    artefacts = ("clip-vit-b-32",)
    patch, width, layers, out = 32, 768, 12, 512


@networks.register("clip-l")
class ClipL(ClipTower):
    name = "clip-l"
    artefacts = ("clip-vit-l-14",)
    patch, width, layers, out = 14, 1024, 24, 768
