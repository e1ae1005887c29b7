"""LongLive-RAG: retrieves the past frames that are most similar to the newest one (2026; training-free).

The query is the descriptor of the last frame of the previous block. The K most similar eligible frames (cosine,
float32; the older frame wins a tie) are attended, most similar first. All layers and passes of a block use one choice.
"""

from dataclasses import dataclass

from longtake.platform.errors import ConfigError
from longtake.platform.methods.base import Latent, Method, RolloutInfo, Window, methods
from longtake.platform.methods.descriptors import AVG_POOL, Descriptor, avg_pool, cosine
from longtake.platform.methods.memory import Choice, MemoryConfig, MemoryMethod
from longtake.platform.settings.paths import FilePath


class RetrievalMemory(MemoryMethod):
    """Retrieves by cosine similarity."""

    needs_descriptors = True

    def choose(self, row: int, first: int, eligible: list[int], count: int) -> list[Choice]:
        vectors = self.descriptors.all[row]
        similarity, order = cosine(vectors[first - 1], vectors[eligible]).sort(descending=True, stable=True)
        return [(eligible[i], s) for i, s in zip(order[:count].tolist(), similarity[:count].tolist(), strict=True)]


@methods.register("rag")
@dataclass(frozen=True)
class Rag(MemoryConfig):
    """Past frames that are most similar to the newest one (LongLive-RAG, 2026).

    `descriptor` is `avg-pool`, or a trained latent autoencoder: the name of a shipped or pulled one, or the folder
    or file of one (safetensors + its json)."""

    descriptor: FilePath = AVG_POOL

    def build(self, info: RolloutInfo) -> Method:
        return RetrievalMemory(info, self)

    @property
    def described_by(self) -> str:
        return self.descriptor

    def load_descriptor(self) -> Descriptor:
        if self.descriptor == AVG_POOL:
            return avg_pool
        from longtake.platform.weights.embedder_catalog import load_embedder

        return load_embedder(self.descriptor)

    def fingerprint(self) -> dict[str, str]:
        if self.descriptor == AVG_POOL:
            return {}
        from longtake.platform.weights.embedder_catalog import embedder_sha256

        return {"method.descriptor": embedder_sha256(self.descriptor)}

    def check(self, window: Window, latent: Latent) -> None:
        super().check(window, latent)
        if self.descriptor == AVG_POOL:
            return
        from longtake.platform.weights.embedder_catalog import embedder_spec

        spec = embedder_spec(self.descriptor)
        expected = (spec.in_channels, spec.spatial_h, spec.spatial_w)
        if expected != latent:
            raise ConfigError(f"descriptor {self.descriptor}: made for latents {expected}, the backbone's are {latent}")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.descriptor:
            raise ConfigError("descriptor is empty; set avg-pool or the file of a trained embedder")
