"""Makes the text embeddings that a sweep lacks, before anything is sampled: one worker per encoder, then none.

An encoder of 11 GB beside every sampler would cost more than the samplers. So prompts are encoded once, by a fleet of
one, each kept in the cache as soon as it is made, and the fleet is closed before the next one opens. Where nothing is
missing nothing starts. A failure here is no take's fault and ends the run; running again resumes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.jobs.workers.run_loop import run_until_done
from longtake.platform.errors import ConfigError, Interrupted, LongtakeError, StorageError, WeightsError
from longtake.platform.process import set_up_computing
from longtake.platform.resources import find_device
from longtake.platform.store.text_cache import TextCache, TextSource
from longtake.platform.workers.fleet import Fleet, Group, Item, Outcome, Report

if TYPE_CHECKING:
    from longtake.platform.takes import Take
    from longtake.platform.workers.ray_cluster import Cluster

ENCODERS = "encoders"
SAY_SECONDS = 30.0
TELLS_ENOUGH = (StorageError, WeightsError, ConfigError)

LoadEncoder = Callable[[Path, str], Any]
Say = Callable[[str], None]


def load_encoder(folder: Path, device: str) -> Any:
    from longtake.platform.models.text.encoder import TextEncoder

    return TextEncoder(folder, find_device(device))


class TextWorker:
    """One prompt at a time, into the cache; the encoder is loaded by the first and stays."""

    def __init__(self, texts: TextCache, device: str = "auto", load: LoadEncoder = load_encoder):
        self.texts, self.device, self.load = texts, device, load
        self.source: TextSource | None = None
        self.encoder: Any = None

    def run(self, payload: dict[str, str], report: Report) -> dict[str, int]:
        """Encode `prompt` with the encoder in `folder`; tells how many tokens it has and how many of them were read."""
        source, prompt = TextSource(Path(payload["folder"]), payload["sha256"]), payload["prompt"]
        report({"done": 0, "total": 1, "unit": "prompt"})
        self.ensure_loaded(source)
        if not self.texts.has(source.sha256, prompt):
            self.texts.put(source.sha256, prompt, self.encoder(prompt))
        rows = len(self.texts.get(source.sha256, prompt))
        return {"tokens": self.encoder.tokens(prompt), "rows": rows}

    def ensure_loaded(self, source: TextSource) -> None:
        if source == self.source:
            return
        set_up_computing()
        self.source, self.encoder = None, None
        self.encoder = self.load(source.folder, self.device)
        self.source = source


def encode_prompts(
    takes: Iterable[Take],
    folder: Path,
    cluster: Cluster,
    say: Say,
    device: str = "auto",
    load: LoadEncoder = load_encoder,
) -> int:
    """Encode what the takes' prompts lack in the cache at `folder`; returns how many that were.

    Raises Interrupted on a signal, ConfigError if no node has room for an encoder, and LongtakeError when one fails.
    """
    texts = TextCache(folder)
    lacking = missing(texts, wanted(takes))
    for source, prompts in lacking.items():
        Encoding(source, prompts, texts, say).run(cluster, device, load)
    return sum(map(len, lacking.values()))


def wanted(takes: Iterable[Take]) -> dict[TextSource, list[str]]:
    """Per encoder, the prompts of the takes whose backbones read it, each once."""
    from longtake.platform.backbones.base import backbones

    takes = list(takes)
    sources = {name: backbones.get(name).text_source() for name in dict.fromkeys(take.backbone for take in takes)}
    found: dict[TextSource, dict[str, None]] = {}
    for take in takes:
        source = sources[take.backbone]
        if source is not None:
            found.setdefault(source, {})[take.prompt] = None
    return {source: list(prompts) for source, prompts in found.items()}


def missing(texts: TextCache, prompts: dict[TextSource, list[str]]) -> dict[TextSource, list[str]]:
    """Those whose embedding is not there, or damaged; encoders without any are left out."""
    lacking = {source: [one for one in all_ if not texts.has(source.sha256, one)] for source, all_ in prompts.items()}
    return {source: some for source, some in lacking.items() if some}


class Encoding:
    """The prompts of one encoder on their way: hands them to a fleet of one and books what comes back."""

    def __init__(self, source: TextSource, prompts: list[str], texts: TextCache, say: Say):
        self.source, self.texts, self.say = source, texts, say
        self.left = dict.fromkeys(prompts)
        self.total = len(prompts)
        self.started = self.told = time.monotonic()

    def run(self, cluster: Cluster, device: str, load: LoadEncoder) -> None:
        gpus = float(device != "cpu" and any(node.gpus >= 1 for node in cluster.nodes))
        group = Group(ENCODERS, partial(TextWorker, self.texts, device, load), 1, 1.0, gpus)
        self.say(f"encoding {self.total} prompts with {self.source.folder}, once, into {self.texts.folder}")
        fleet = cluster.fleet([group], lambda _group, _item: None)
        try:
            for prompt in self.left:
                fleet.submit(ENCODERS, self.item(prompt))
            self.drive(fleet, cluster)
        finally:
            fleet.close()
            gc.collect()  # an inline worker's network goes now, not when the sampler already needs its memory

    def item(self, prompt: str) -> Item:
        payload = {"folder": str(self.source.folder), "sha256": self.source.sha256, "prompt": prompt}
        return Item(prompt, payload, label=prompt[:40])

    def drive(self, fleet: Fleet, cluster: Cluster) -> None:
        run_until_done(fleet, cluster.stop, lambda: len(self.left), self.record_outcome, self.tell, self.say)
        if self.left:
            raise Interrupted(f"stopped: {self.done} of {self.total} prompts encoded; run again to resume")
        self.say(f"encoded {self.total} prompts in {time.monotonic() - self.started:.0f} s")

    @property
    def done(self) -> int:
        return self.total - len(self.left)

    def record_outcome(self, outcome: Outcome) -> None:
        """Take note; raises what ended an attempt."""
        if outcome.error is not None:
            raise self.failure(outcome)
        self.check_kept(outcome.item.key)
        del self.left[outcome.item.key]
        self.tell_of_cut(outcome)

    def tell(self) -> None:
        """How far it is, now and then."""
        if time.monotonic() - self.told >= SAY_SECONDS:
            self.told = time.monotonic()
            self.say(f"encoded {self.done} of {self.total} prompts")

    def check_kept(self, prompt: str) -> None:
        path = self.texts.path(self.source.sha256, prompt)
        if not path.is_file():
            raise StorageError(f"{path}: written by a worker but not to be seen here; all nodes need one shared folder")

    def tell_of_cut(self, outcome: Outcome) -> None:
        tokens, rows = outcome.value["tokens"], outcome.value["rows"]
        if tokens > rows:
            self.say(f"note: prompt {outcome.item.key[:60]!r} has {tokens} tokens; the encoder reads the first {rows}")

    def failure(self, outcome: Outcome) -> Exception:
        error = outcome.error
        if isinstance(error, TELLS_ENOUGH):
            return error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300] or 'no message'}"
        size = sum(path.stat().st_size for path in self.source.folder.glob("*.safetensors"))
        return LongtakeError(
            f"{self.source.folder}: encoding prompt {outcome.item.key[:60]!r} failed: {reason}; "
            f"its weights alone take {size / 1e9:.1f} GB of memory; run again to resume"
        )
