"""The interface of a backbone: a frozen generator with its text encoder, decoder and specification.

To add a backbone, add a file to this folder. A backbone owns its weights and defines how a prompt conditions it and how
its latents are decoded. It knows no method, no path of a run and no Ray.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from longtake.platform.errors import ConfigError
from longtake.platform.machine.dtypes import BYTES
from longtake.platform.machine.resources import STREAM, Resources
from longtake.platform.methods.base import FrameSize, Latent, MethodConfig, Window
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec
from longtake.platform.prompts import Prompt
from longtake.platform.registry import Registry
from longtake.platform.store.text_cache import TextSource
from longtake.platform.takes import Take

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from longtake.platform.models.causal_dit import CausalDiT

ENGINE = "1"
"""Part of every take's identity. Raise it when the same weights and inputs would give other pixels."""


@dataclass(frozen=True)
class BackboneSpec:
    """The published or measured numbers of a backbone.

    `gpus`: how many GPUs a sampler uses; `dtype`: the dtype of the network, on any device. For estimates only:
    `cpu_gflops` and `gpu_tflops` are the rates of one core or one GPU when sampling (`gpu_basis`: their source), and
    `decode_seconds` and `encode_seconds` the seconds of a core for one second of video. `decodes`: the ways in which
    its latents can be decoded, one or more of resources.DECODES.
    """

    name: str
    network: DiTSpec
    schedule: FlowSchedule
    window: Window
    width: int
    height: int
    latent_fps: int = 4
    fps: int = 16
    provides_prefix: bool = False
    has_camera: bool = False
    gpus: float = 0.0
    dtype: str = "float32"
    cpu_gflops: float = 20.0
    gpu_tflops: float = 200.0
    gpu_basis: str = "assumed"
    decode_seconds: float = 0.01
    encode_seconds: float = 0.2
    video_bytes_per_second: int = 20_000
    decodes: tuple[str, ...] = (STREAM,)

    @property
    def frames_per_block(self) -> int:
        return self.window.block

    @property
    def latent(self) -> Latent:
        return self.network.channels, self.network.latent_height, self.network.latent_width

    @property
    def frame(self) -> FrameSize:
        """A frame's keys and values over all layers, as they are computed."""
        return FrameSize(self.network.frame_kv_values, BYTES[self.dtype], self.network.frame_kv_scales)

    def block_flops(self, window: Window, attended: float | None = None) -> int:
        """FLOPs of one block that attends so many frames, by default a full window: every denoising pass and the
        commit."""
        frames = window.size if attended is None else round(attended)
        return self.network.block_flops(len(self.schedule.steps), window.block, frames)

    def compute_seconds(self, flops: int, on_gpu: bool) -> dict[str, float]:
        """Seconds of sampling, as cpu_seconds or gpu_seconds."""
        if on_gpu:
            return {"gpu_seconds": flops / (self.gpu_tflops * 1e12)}
        return {"cpu_seconds": flops / (self.cpu_gflops * 1e9)}


@dataclass(frozen=True)
class Condition:
    """The conditioning of a take: text [1, rows, text_dim] and, in a world with a camera, its columns [F]. `later`: the
    texts that replace it, in the order of the take's switches. `places` [F, view_columns]: equal numbers where the same
    is seen; None: where the column is the same."""

    text: Tensor
    columns: np.ndarray | None = None
    view_columns: int = 0
    world_columns: int = 0
    later: tuple[Tensor, ...] = ()
    places: np.ndarray | None = None


class Decoder(Protocol):
    """Decodes a stream: latents [n, C, H, W] to a new array of uint8 frames [m, height, width, 3]. Keeps the state for
    the next call."""

    def push(self, latents_FCHW: Tensor) -> np.ndarray: ...


class Backbone(ABC):
    """A backbone with loaded weights. Its class methods load none."""

    spec: ClassVar[BackboneSpec]
    network: CausalDiT

    @abstractmethod
    def __init__(self, resources: Resources): ...

    @classmethod
    def artefacts(cls) -> dict[str, str]:
        """The published weights that its pixels depend on: the part they play -> their name in the catalogue."""
        return {}

    @classmethod
    @abstractmethod
    def fingerprint(cls) -> dict[str, str]:
        """sha256 of every file that changes pixels, by name, and ENGINE. Raises WeightsError if a file is missing.

        Called for the plan, and by every worker before and after it loads: takes planned with another one are refused.
        """

    @classmethod
    @abstractmethod
    def check_prompt(cls, prompt: str) -> None:
        """Raises ConfigError if the backbone does not accept this prompt."""

    @classmethod
    def check_parts(cls, prompt: Prompt) -> None:
        """Raises ConfigError for a prompt whose texts cannot follow one another; each was checked by itself."""

    @classmethod
    def check_seed(cls, seed: int) -> None:
        """Raises ConfigError for a seed that the training of the backbone used."""

    @abstractmethod
    def condition(self, prompt: str, latent_frames: int) -> Condition: ...

    @abstractmethod
    def decoder(self, prompt: str, latent_frames: int) -> Decoder: ...

    def condition_of(self, take: Take) -> Condition:
        """The conditioning of a take. Where a prompt also moves a camera, that of the first text moves it throughout,
        unless a backbone overrides this and `decoder_of`."""
        first = self.condition(take.prompt, take.latent_frames)
        later = [self.condition(one.text, take.latent_frames).text for one in take.switches]
        return replace(first, later=tuple(later))

    def decoder_of(self, take: Take) -> Decoder:
        """A new decoder for the latents of a take."""
        return self.decoder(take.prompt, take.latent_frames)

    def prefix_latents(self, prompt: str, seed: int, frames: int) -> Tensor:
        """Real latents [F, C, H, W] for the prefix of a take. Raises ConfigError if the backbone has none."""
        raise ConfigError(f"backbone {self.spec.name} has no real frames for a prefix; set prefix_s to 0")

    @classmethod
    def text_source(cls) -> TextSource | None:
        """The encoder of this backbone's prompts; None if the backbone parses prompts itself."""
        return None

    @classmethod
    def cost(
        cls, take: Take, method: MethodConfig, on_gpu: bool = False, decodes_on_gpu: bool | None = None
    ) -> dict[str, float]:
        """An estimate of making a take: cpu_seconds of one core, encode_seconds of which are encoding, and gpu_seconds
        of one GPU; bytes of the bank, of one of its entries, of a context that grows with the video, and of the video
        file. Decoding on a GPU overlaps with sampling and is not in it."""
        spec, window = cls.spec, method.window_in(cls.spec.window)
        seconds = take.latent_frames / spec.latent_fps
        frames = method.banked_frames(take.latent_frames, window, spec.frame)
        entry = method.entry_bytes(spec.frame)
        flops = spec.block_flops(window, method.mean_attended(take.latent_frames, window, spec.network))
        costs = spec.compute_seconds(take.latent_frames // spec.frames_per_block * flops, on_gpu)
        decode = 0.0 if (on_gpu if decodes_on_gpu is None else decodes_on_gpu) else spec.decode_seconds
        return {
            "cpu_seconds": costs.get("cpu_seconds", 0.0) + seconds * (decode + spec.encode_seconds),
            "gpu_seconds": costs.get("gpu_seconds", 0.0),
            "encode_seconds": seconds * spec.encode_seconds,
            "bank_bytes": frames * entry,
            "entry_bytes": entry,
            "context_bytes": method.growing_bytes(take.latent_frames, window, spec.network, spec.frame),
            "video_bytes": seconds * spec.video_bytes_per_second,
        }


def check_precision(spec: BackboneSpec, precision: str | None) -> None:
    """Raises ConfigError for a precision that the backbone does not support on any device."""
    if precision is not None and spec.dtype != "bf16":
        raise ConfigError(
            f"workers.precision: {precision!r} needs a backbone that computes in bf16, but {spec.name} computes in "
            f"{spec.dtype}; set null"
        )
    if precision == "fp8":
        from longtake.platform.models import fp8

        fp8.check_sizes(spec.network)


def check_decode(spec: BackboneSpec, decode: str) -> None:
    """Raises ConfigError for a decode that the backbone does not have."""
    if decode not in spec.decodes:
        raise ConfigError(f"decode: backbone {spec.name} has no {decode!r} decode; set {' or '.join(spec.decodes)}")


def prepare_network(network: CausalDiT, resources: Resources) -> CausalDiT:
    """Prepare a loaded network for sampling on its device, without gradients. Mutates it."""
    network = network.to(resources.compute_device()).eval().requires_grad_(False).lay_out()
    if resources.precision == "fp8":
        from longtake.platform.models import fp8

        fp8.check_device(network.device)
        fp8.quantize_linears(network)
    return network.compile_parts() if resources.compile else network


backbones: Registry[type[Backbone]] = Registry("backbone", "longtake.platform.backbones")
