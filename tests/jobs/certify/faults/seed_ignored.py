"""Its network removes all of the noise, whatever the noise was."""

from small import Small, small_spec

from longtake.platform.backbones.base import backbones


@backbones.register("seed-ignored")
class Fault(Small):
    spec = small_spec("seed-ignored")

    def __init__(self, resources):
        super().__init__(resources)
        forward = self.network.forward
        self.network.forward = lambda noisy, *rest: noisy + 0 * forward(noisy, *rest)  # x_0 = noisy - 1 * flow = 0
