"""LAION's aesthetic predictor: a linear layer on CLIP ViT-L/14 features. Weights: sa_0_4_vit_l_14_linear.pth."""

from torch import nn

from longtake.evaluators.models.base import Network, networks


@networks.register("aesthetic")
class Aesthetic(Network):
    """L2-normalized clip-l features [n, 768] -> scores [n, 1], about 0 to 10."""

    name = "aesthetic"
    artefacts = ("aesthetic-linear",)

    def build(self) -> nn.Module:
        return nn.Linear(768, 1)
