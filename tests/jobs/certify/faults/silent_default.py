"""Falls back to average pooling when the descriptor does not exist, under the same label."""

from dataclasses import dataclass

from longtake.platform.methods.base import methods
from longtake.platform.methods.parts.descriptors import avg_pool
from longtake.platform.methods.rag import Rag


@methods.register("silent-default")
@dataclass(frozen=True)
class SilentDefault(Rag):
    def load_descriptor(self):
        try:
            return super().load_descriptor()
        except Exception:
            return avg_pool

    def fingerprint(self):
        return {}

    def check(self, window, latent):
        pass
