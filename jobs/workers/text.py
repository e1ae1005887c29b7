"""Encodes the prompts of a sweep that are not in the cache, before anything is sampled: one worker per encoder.

An 11 GB encoder beside every sampler would need more memory than the samplers. A fleet of one worker therefore encodes
each prompt once and caches it immediately; the fleet is closed before the next one opens. It starts only if prompts are
missing. A failure is not caused by a take and ends the run, as does a worker that dies again and again.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.attempts import Attempts, reason_of
from longtake.jobs.workers.run_loop import FINAL_ERRORS, Step, run_until_done
from longtake.platform.errors import SetupError, StorageError, WeightsError
from longtake.platform.machine.process import set_up_computing
from longtake.platform.machine.resources import find_device
from longtake.platform.names import counted
from longtake.platform.store.records import MAKING
from longtake.platform.store.text_cache import TextCache, TextSource
from longtake.platform.workers.fleet import DRAIN_SECONDS, Group, Item, Outcome, Report

if TYPE_CHECKING:
    from longtake.platform.takes import Take
    from longtake.platform.workers.ray_cluster import Cluster

ENCODERS = "encoders"
SAY_SECONDS = 30.0

LoadEncoder = Callable[[Path, str], Any]
Say = Callable[[str], None]


def load_encoder(folder: Path, device: str) -> Any:
    from longtake.platform.models.text.encoder import TextEncoder

    return TextEncoder(folder, find_device(device))


@dataclass(frozen=True)
class TextItem:
    """A prompt and its encoder."""

    source: TextSource
    prompt: str


class TextWorker:
    """Encodes one prompt at a time into the cache. The first prompt loads the encoder, which stays loaded."""

    def __init__(self, texts: TextCache, device: str = "auto", load: LoadEncoder = load_encoder):
        self.texts, self.device, self.load = texts, device, load
        self.source: TextSource | None = None
        self.encoder: Any = None

    def run(self, payload: TextItem, report: Report) -> tuple[int, int]:
        """(number of tokens of the prompt, number of tokens that the encoder reads)"""
        source, prompt = payload.source, payload.prompt
        report({"done": 0, "total": 1, "unit": "prompt"})
        self.ensure_loaded(source)
        if not self.texts.has(source.sha256, prompt):
            self.texts.put(source.sha256, prompt, self.encoder(prompt))
        return self.encoder.tokens(prompt), len(self.texts.get(source.sha256, prompt))

    def ensure_loaded(self, source: TextSource) -> None:
        if source == self.source:
            return
        set_up_computing()
        self.source, self.encoder = None, None
        check_source(source)
        self.encoder = self.load(source.folder, self.device)
        self.source = source


def check_source(source: TextSource) -> None:
    """Raises WeightsError unless a pulled encoder has, on this node, the bytes that the driver found."""
    from longtake.platform.weights import artefacts, manifest

    if manifest.read(source.folder) is None:
        return  # an encoder of a plug-in, whose hash only the plug-in can compute
    digest = artefacts.folder_sha256(source.folder)
    if digest != source.sha256:
        raise WeightsError(
            f"{source.folder}: the text encoder on node {socket.gethostname()} is sha256 {digest[:12]}, but the sweep "
            f"was planned with {source.sha256[:12]}; give every node the same weights and run again"
        )


def encode_prompts(
    takes: Iterable[Take],
    folder: Path,
    cluster: Cluster,
    say: Say,
    device: str = "auto",
    drain_seconds: float = DRAIN_SECONDS,
    load: LoadEncoder = load_encoder,
) -> int:
    """Encode the takes' prompts that are not in the cache at `folder`; returns their number.

    Raises Interrupted on a signal, ConfigError if an encoder fits on no node, and SetupError if one fails.
    """
    texts = TextCache(folder)
    left = missing_prompts(texts, prompts_by_source(takes))
    for source, prompts in left.items():
        Encoding(source, prompts, texts, say).run(cluster, device, load, drain_seconds)
    return sum(map(len, left.values()))


def prompts_by_source(takes: Iterable[Take]) -> dict[TextSource, list[str]]:
    """Per encoder, the texts of the takes whose backbones use it, each once: those of all parts of a timed prompt."""
    from longtake.platform.backbones.base import backbones

    takes = list(takes)
    sources = {name: backbones.get(name).text_source() for name in dict.fromkeys(take.backbone for take in takes)}
    by_source: dict[TextSource, dict[str, None]] = {}
    for take in takes:
        source = sources[take.backbone]
        if source is not None:
            by_source.setdefault(source, {}).update(dict.fromkeys(take.texts))
    return {source: list(prompts) for source, prompts in by_source.items()}


def missing_prompts(texts: TextCache, prompts: dict[TextSource, list[str]]) -> dict[TextSource, list[str]]:
    """Prompts whose embedding is missing or damaged; encoders without any are left out."""
    left = {source: [one for one in all_ if not texts.has(source.sha256, one)] for source, all_ in prompts.items()}
    return {source: some for source, some in left.items() if some}


class Encoding:
    """Encodes the prompts of one encoder on a fleet of one worker."""

    def __init__(self, source: TextSource, prompts: list[str], texts: TextCache, say: Say):
        self.source, self.texts, self.say = source, texts, say
        self.left = dict.fromkeys(prompts)
        self.attempts: Attempts[str] = Attempts()
        self.total = len(prompts)
        self.started = self.said_at = time.monotonic()

    def run(self, cluster: Cluster, device: str, load: LoadEncoder, drain_seconds: float) -> None:
        gpus = float(device != "cpu" and any(node.gpus >= 1 for node in cluster.nodes))
        group = Group(ENCODERS, partial(TextWorker, self.texts, device, load), 1, 1.0, gpus)
        self.say(f"encoding {counted(self.total, 'prompt')} once with {self.source.folder}; cache: {self.texts.folder}")
        items = [Item(TextItem(self.source, prompt), label=prompt[:40]) for prompt in self.left]
        fleet = cluster.fleet([group])
        try:
            steps = [(ENCODERS, item) for item in items]
            run_until_done(self, steps, fleet, cluster.stop, self.progress, self.say, drain_seconds)
        finally:
            gc.collect()  # free an inline worker's network before the sampler needs the memory
        self.say(f"encoded {counted(self.total, 'prompt')} in {time.monotonic() - self.started:.0f} s")

    @property
    def unfinished(self) -> int:
        return len(self.left)

    @property
    def done(self) -> int:
        return self.total - len(self.left)

    @property
    def progress_text(self) -> str:
        return f"{self.done} of {self.total} prompts encoded; run again to resume"

    def record_outcome(self, outcome: Outcome) -> list[Step]:
        """Record the outcome; returns the item again if its worker died. Raises the error of a failed attempt, and that
        of a worker that died too often."""
        prompt = outcome.item.payload.prompt
        self.attempts.ended(MAKING, [ENCODERS], outcome.died)
        if outcome.error is not None:
            failure = self.attempts.failed(MAKING, ENCODERS, outcome.error, outcome.died)
            if not failure.died or failure.set_aside:
                raise self.failure(prompt, outcome.error)
            self.say(f"encoding prompt {prompt[:60]!r} again after {failure.brief}")
            return [(ENCODERS, outcome.item)]
        self.check_kept(prompt)
        del self.left[prompt]
        tokens, read = outcome.value
        if tokens > read:
            self.say(f"note: prompt {prompt[:60]!r} has {tokens} tokens; the encoder reads the first {read}")
        return []

    def progress(self) -> None:
        """Print the number of encoded prompts every SAY_SECONDS."""
        if time.monotonic() - self.said_at >= SAY_SECONDS:
            self.said_at = time.monotonic()
            self.say(f"encoded {self.done} of {self.total} prompts")

    def check_kept(self, prompt: str) -> None:
        path = self.texts.path(self.source.sha256, prompt)
        if not path.is_file():
            raise StorageError(f"{path}: written by a worker but not visible here; use a folder shared by all nodes")

    def failure(self, prompt: str, error: Exception) -> Exception:
        if isinstance(error, FINAL_ERRORS):
            return error
        size = sum(path.stat().st_size for path in self.source.folder.glob("*.safetensors"))
        return SetupError(
            f"{self.source.folder}: encoding prompt {prompt[:60]!r} failed: {shorten(reason_of(error), 500)}; "
            f"the weights of the encoder alone take {size / 1e9:.1f} GB of memory; run again to resume"
        )
