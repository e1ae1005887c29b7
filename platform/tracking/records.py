"""What is published: runs, with everything that MLflow shows of them. Plain data; opens no connection."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from longtake.platform.digest import file_sha256
from longtake.platform.takes import canonical_json

RUN_ID = "{run_id}"
"""Replaced in a description by the id of its run, which is known only when the run exists."""


@dataclass(frozen=True)
class TextSet:
    """Texts that runs take as input, such as prompts: a dataset of MLflow."""

    name: str
    texts: list[str]

    def digest(self) -> str:
        """MLflow's digests have at most 36 characters."""
        return hashlib.sha256(canonical_json(self.texts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunRecord:
    """One run. `key` identifies it; params never change for a key.

    started, ended: when the work was done; None: when the run is published. texts: name of a file in the run -> its
    content. note: its description, in Markdown. same: tags; a run of an earlier version with these and the params is
    this one.
    """

    key: str
    name: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: list[tuple[Path, str]] = field(default_factory=list)  # (file, folder in the run)
    texts: dict[str, str] = field(default_factory=dict)
    note: str = ""
    dataset: TextSet | None = None
    started: datetime | None = None
    ended: datetime | None = None
    same: frozenset[str] = frozenset()

    def digest(self) -> str:
        """The sha256 of its content, including the bytes of its files."""
        files = [[path.name, folder, file_sha256(path)] for path, folder in self.artifacts]
        points = {name: [[0, value]] for name, value in self.numbers().items()}  # by step, as in earlier versions
        dataset = self.dataset and [self.dataset.name, self.dataset.digest()]
        content = [self.params, self.tags, points, files, self.texts, self.note, dataset, str(self.ended)]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()

    def numbers(self) -> dict[str, float]:
        """All finite metrics: a missing number is not published, least of all as 0."""
        return {name: value for name, value in self.metrics.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Publication:
    """A parent run and its children, in one experiment."""

    experiment: str
    parent: RunRecord
    children: list[RunRecord]


@dataclass(frozen=True)
class Published:
    """The result of publishing: the number of runs, how many of them were new or changed, the experiment's id."""

    runs: int
    changed: int
    experiment: str
