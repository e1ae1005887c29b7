"""A take: one video to generate, and the id that identifies it.

The id hashes everything that changes the pixels (weights included, through the fingerprint) and nothing else: the label
of a method, the length in seconds behind the frame count, machines and paths do not count.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from longtake.platform.prompts import Switch, on_one_line

FRAMES_PER_LATENT = 4
PUBLISHED_CHUNK = 60
"""Latent frames after which the published decode starts again."""
PUBLISHED_DECODE = "published-1"
"""Replaces the fingerprint `decode` of takes decoded so. Raise the number when their pixels would change."""


def canonical_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII. Raises ValueError for NaN and infinity."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=4096, typed=True)
def number_json(value: int) -> str:
    """A whole number as JSON. Takes have few different ones."""
    return canonical_json(value)


@dataclass(frozen=True)
class Cell:
    """The subject of a leaderboard row. `method`: the method's label."""

    backbone: str
    method: str
    seconds: int

    def __str__(self) -> str:
        return f"{self.backbone}/{self.method}/{self.seconds}s"


@dataclass(frozen=True)
class MethodSpec:
    """A context method: its registered name, its label in tables, and its resolved parameters."""

    name: str
    label: str
    params: dict[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def _identities(self) -> dict[frozenset[str], str]:
        return {}

    def identity(self, hashed: frozenset[str]) -> str:
        """The part of a take's identity, as canonical JSON: without the label, parameters that are None, and those
        whose weights are in the fingerprint, which has the names `hashed`. Computed once for all takes of a sweep."""
        if hashed not in self._identities:
            given = {name: value for name, value in self.params.items() if value is not None}
            params = {name: value for name, value in given.items() if f"method.{name}" not in hashed}
            self._identities[hashed] = canonical_json({"name": self.name, "params": params})
        return self._identities[hashed]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "label": self.label, "params": self.params}


@dataclass(frozen=True)
class Take:
    """One video to generate. `latent_frames` includes the `prefix_frames`, which are given and not generated. `prompt`
    is the first text; `switches` are those that replace it, in order."""

    backbone: str
    method: MethodSpec
    seconds: int
    latent_frames: int
    prompt: str
    seed: int
    prefix_frames: int = 0
    fingerprint: tuple[tuple[str, str], ...] = ()
    switches: tuple[Switch, ...] = ()

    @cached_property
    def id(self) -> str:
        """16 hex characters: equal ids mean equal pixels.

        For a parameter that names weights, the fingerprint `method.<parameter>`, their hash, replaces the name.
        """
        fingerprint, hashed = _fingerprint_json(self.fingerprint)
        identity = (
            f'{{"backbone":{canonical_json(self.backbone)},"fingerprint":{fingerprint},'
            f'"latent_frames":{number_json(self.latent_frames)},"method":{self.method.identity(hashed)},'
            f'"prompt":{canonical_json(self.prompt)},"seed":{number_json(self.seed)},'
            f'"start_frames":{number_json(self.prefix_frames)}{self._switches_json}}}'
        )
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    @property
    def _switches_json(self) -> str:
        """The part of the identity that takes without switches do not have."""
        if not self.switches:
            return ""
        return f',"switches":{canonical_json([[one.frame, one.text, one.cut] for one in self.switches])}'

    @cached_property
    def cell(self) -> Cell:
        return Cell(self.backbone, self.method.label, self.seconds)

    @cached_property
    def family(self) -> tuple[Any, ...]:
        """Equal for takes that differ only in their length: the shorter one is the beginning of the longer one."""
        rest = (self.prompt, self.seed, self.prefix_frames, self.fingerprint, self.switches)
        return (self.backbone, self.method.label, *rest)

    @cached_property
    def full_prompt(self) -> str:
        """The prompt with its switches, on one line: what readers see, and what takes are paired by."""
        return on_one_line(self.prompt, self.switches)

    @property
    def texts(self) -> list[str]:
        """The texts of its parts, in order."""
        return [self.prompt, *(one.text for one in self.switches)]

    @property
    def switch_frames(self) -> tuple[tuple[int, bool], ...]:
        """The latent frames at which the text changes, and whether with a cut: equal for all takes of a batch."""
        return tuple((one.frame, one.cut) for one in self.switches)

    def part_at(self, video_frame: int) -> int:
        """The index of the text that a frame of the video belongs to."""
        return sum(self.first_video_frame(one.frame) <= video_frame for one in self.switches)

    def first_video_frame(self, latent_frame: int) -> int:
        """The first frame of the video that a latent frame gives."""
        chunk = self.decode_chunk or self.latent_frames
        number, frame = divmod(latent_frame, chunk)
        return number * (1 + FRAMES_PER_LATENT * (chunk - 1)) + max(0, FRAMES_PER_LATENT * (frame - 1) + 1)

    @property
    def decode_chunk(self) -> int | None:
        """Latent frames after which the decode starts again; None: it is one stream."""
        return PUBLISHED_CHUNK if ("decode", PUBLISHED_DECODE) in self.fingerprint else None

    @property
    def num_frames(self) -> int:
        """Video frames: the first latent frame of a decode gives one, each later one gives four."""
        starts = 1 if self.decode_chunk is None else -(-self.latent_frames // self.decode_chunk)
        return starts + FRAMES_PER_LATENT * (self.latent_frames - starts)

    def to_json(self) -> dict[str, Any]:
        return {
            "backbone": self.backbone,
            "method": self.method.to_json(),
            "seconds": self.seconds,
            "latent_frames": self.latent_frames,
            "prompt": self.prompt,
            "seed": self.seed,
            "start_frames": self.prefix_frames,
            "fingerprint": [list(pair) for pair in self.fingerprint],
            **({"switches": [asdict(one) for one in self.switches]} if self.switches else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Take":
        """The inverse of to_json. Raises KeyError, TypeError or ValueError when a field is missing, unknown or of
        another type."""
        fields = dict(data)
        fields["prefix_frames"] = fields.pop("start_frames")
        fields["method"] = MethodSpec(**fields["method"])
        fields["fingerprint"] = tuple((name, digest) for name, digest in fields["fingerprint"])
        fields["switches"] = switches = tuple(Switch(**one) for one in fields.get("switches", ()))
        take = cls(**fields)
        texts = [take.backbone, *take.texts, take.method.name, take.method.label, *chain(*take.fingerprint)]
        numbers = [take.seconds, take.latent_frames, take.seed, take.prefix_frames, *(one.frame for one in switches)]
        if (
            not {*map(type, texts)} == {str}
            or not {*map(type, numbers)} == {int}
            or type(take.method.params) is not dict
            or any((type(one.at_s), type(one.cut)) != (float, bool) for one in switches)
        ):
            raise TypeError("a field of a take is of another type")
        return take


@lru_cache(maxsize=1024)
def _fingerprint_json(fingerprint: tuple[tuple[str, str], ...]) -> tuple[str, frozenset[str]]:
    """A fingerprint as canonical JSON, in the order of its names; and the names."""
    return canonical_json(sorted(fingerprint)), frozenset(name for name, _ in fingerprint)
