"""The output folder, where sweeps lie side by side, each in a folder of its own name, beside what they share.

The only module that knows these names; `sweep.py`, `training.py` and `platform/corpus/` know what lies inside.
"""

from pathlib import Path

EVALUATION = "eval.json"
"""The file of numbers in an embedder's evaluation."""


class OutputRoot:
    """Paths alone: nothing is made or read. Plain data, so it pickles."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.texts = self.folder / "texts"  # embeddings of prompts
        self.score_cache = self.folder / "scores"  # results of metrics by the bytes of videos
        self.corpora = self.folder / "corpora"
        self.trainings = self.folder / "training"
        self.evaluations = self.folder / "embedders"  # what descriptors retrieve, a folder per evaluation
        self.models = self.folder / "models"  # registered models that were fetched
        self.mlflow_db = self.folder / "mlflow.db"
        self.mlflow_files = self.folder / "mlartifacts"


RESERVED = frozenset(path.name for key, path in vars(OutputRoot("")).items() if key != "folder")
"""Names that no sweep may have."""
