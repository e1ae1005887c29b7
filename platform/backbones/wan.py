"""Wan 2.1 T2V 1.3B made causal: Self-Forcing, Causal-Forcing and LongLive, at 480x832 and 16 frames a second.

They share the network, the few-step schedule, the VAE and the text encoder, and differ in weights and window. `longtake
weights pull` fetches the published weights. A file that is missing, changed or of another architecture is an error
before anything is loaded. The text encoder is not loaded here: a sweep encodes its prompts once, at the start.
"""

from typing import ClassVar

from longtake.platform.backbones.base import (
    ENGINE,
    Backbone,
    BackboneSpec,
    Condition,
    Decoder,
    backbones,
    prepare_network,
)
from longtake.platform.checkpoints.files import load_into
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.machine.resources import DECODES, PUBLISHED, Resources
from longtake.platform.methods.base import Window
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec
from longtake.platform.store.text_cache import TextCache, TextSource
from longtake.platform.weights.artefacts import (
    ABSENT,
    artefact_file,
    artefact_folder,
    checked_sha256,
    recorded_sha256,
    state,
    weights_root,
)
from longtake.platform.weights.catalog import artefact
from longtake.platform.weights.check import check_artefact

WAN_1_3B = DiTSpec(
    dim=1536,
    ffn_dim=8960,
    heads=12,
    layers=30,
    channels=16,
    latent_height=60,
    latent_width=104,
    text_len=512,
    text_dim=4096,
)
SCHEDULE = FlowSchedule(steps=(1000, 750, 500, 250), shift=5.0)
DECODE = "2"
"""Part of a take's identity, like ENGINE. Raise it when the same latents would be decoded to other pixels."""
TEXT = "text"
H100_TFLOPS = 244.0
"""The rate of LongLive's published 20.7 frames a second on one H100: 141.5 TFLOP for 12 frames at window 12, with the
whole commit pass."""
VIDEO_BYTES_PER_SECOND = 133_000
"""Measured on real 30 s videos of this size: 4.0 MB each."""


CPU_GFLOPS = 60.0
"""Assumed: the share of its rate that a core reaches in a smaller network (docs/measurements/bench_engine.csv)."""
DECODE_SECONDS = 540.0
"""Of one core, for a second of video of this size: 4 latent frames of 135 s (docs/measurements/estimates_cpu.csv)."""


def wan_spec(name: str, window: Window) -> BackboneSpec:
    return BackboneSpec(
        name,
        WAN_1_3B,
        SCHEDULE,
        window,
        width=832,
        height=480,
        gpus=1.0,
        dtype="bf16",
        gpu_tflops=H100_TFLOPS,
        cpu_gflops=CPU_GFLOPS,
        decode_seconds=DECODE_SECONDS,
        gpu_basis="published for LongLive on an H100",
        video_bytes_per_second=VIDEO_BYTES_PER_SECOND,
        decodes=DECODES,
    )


class Wan(Backbone):
    """The common base of the three backbones. `generator` and `lora`: names of artefacts."""

    generator: ClassVar[str]
    lora: ClassVar[str | None] = None

    def __init__(self, resources: Resources) -> None:
        from longtake.platform.models.causal_dit import empty_dit
        from longtake.platform.models.vae.wan import load_vae

        for part, name in self.artefacts().items():
            if part != TEXT:  # the sampler reads embeddings, which carry the hash of their encoder
                checked_sha256(name)
        network, dtype = empty_dit(self.spec.network), torch_dtype(self.spec.dtype)
        device, lora = resources.compute_device(), self.lora and artefact_file(self.lora, "lora.safetensors")
        load_into(network, artefact_file(self.generator, "generator.safetensors"), dtype, device, lora or None)
        self.network = prepare_network(network, resources)
        self.vae = load_vae(artefact_folder("wan-vae"), resources.decoding_device(), dtype)
        self.decode = resources.decode
        self.texts = TextCache(resources.texts) if resources.texts else None
        self.text_sha256 = recorded_sha256("wan-text")

    @classmethod
    def artefacts(cls) -> dict[str, str]:
        """Role of each artefact that affects the pixels -> its name in the catalogue."""
        parts = {"weights": cls.generator, "lora": cls.lora, "vae": "wan-vae", TEXT: "wan-text"}
        return {part: name for part, name in parts.items() if name}

    @classmethod
    def fingerprint(cls) -> dict[str, str]:
        cls.check_weights()
        weights = {part: recorded_sha256(name) for part, name in cls.artefacts().items()}
        return weights | {"engine": ENGINE, "decode": DECODE}

    @classmethod
    def check_weights(cls) -> None:
        """Raises WeightsError unless every file exists and its header fits this architecture."""
        missing = [name for name in cls.artefacts().values() if state(artefact(name)) == ABSENT]
        if missing:
            names = " ".join(missing)
            raise WeightsError(f"{weights_root()}: missing {names}; run longtake weights pull {names}")
        from longtake.platform.models.causal_dit import empty_dit

        network = empty_dit(cls.spec.network)
        for name in cls.artefacts().values():
            check_artefact(artefact(name), lambda _: [network])

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        if not prompt.strip():
            raise ConfigError("is empty; describe the video")

    @classmethod
    def text_source(cls) -> TextSource:
        return TextSource(artefact_folder("wan-text"), recorded_sha256("wan-text"))

    def condition(self, prompt: str, latent_frames: int) -> Condition:
        if self.texts is None:
            raise ConfigError(f"backbone {self.spec.name} needs a folder of text embeddings (Resources.texts)")
        return Condition(self.texts.get(self.text_sha256, prompt).unsqueeze(0))

    def decoder(self, prompt: str, latent_frames: int) -> Decoder:
        from longtake.platform.models.vae.published import PublishedDecoder
        from longtake.platform.models.vae.wan import WanDecoder

        return PublishedDecoder(self.vae) if self.decode == PUBLISHED else WanDecoder(self.vae)


@backbones.register("self-forcing")
class SelfForcing(Wan):
    """Self-Forcing (Huang et al. 2025): the EMA weights, a window of 21 frames without a sink."""

    spec: ClassVar[BackboneSpec] = wan_spec("self-forcing", Window(21, 0, 3))
    generator = "self-forcing-generator"


@backbones.register("causal-forcing")
class CausalForcing(Wan):
    """Causal-Forcing (Zhu et al. 2026), its chunkwise model: a window of 21 frames without a sink."""

    spec: ClassVar[BackboneSpec] = wan_spec("causal-forcing", Window(21, 0, 3))
    generator = "causal-forcing-generator"


@backbones.register("longlive")
class LongLive(Wan):
    """LongLive 1.3B (Yang et al. 2025): base weights with the LoRA merged in, a window of 12 with a sink of 3."""

    spec: ClassVar[BackboneSpec] = wan_spec("longlive", Window(12, 3, 3))
    generator = "longlive-base"
    lora = "longlive-lora"
