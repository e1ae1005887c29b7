"""The output folder: one folder per sweep, and the folders that sweeps share.

The only module that knows these names; `sweep.py`, `training.py` and `platform/corpus/` know the files inside.
"""

from pathlib import Path

EVALUATION = "eval.json"
"""The file with the numbers of an embedder's evaluation."""


class OutputRoot:
    """Paths only; makes and reads nothing. Plain data that pickles."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.texts = self.folder / "texts"  # embeddings of prompts
        self.score_cache = self.folder / "scores"  # results of metrics by the hash of the video
        self.corpora = self.folder / "corpora"
        self.trainings = self.folder / "training"
        self.evaluations = self.folder / "embedders"  # evaluations of embedders, one folder each
        self.models = self.folder / "models"  # downloaded registered models
        self.mlflow_db = self.folder / "mlflow.db"
        self.mlflow_files = self.folder / "mlartifacts"


RESERVED = frozenset(path.name for key, path in vars(OutputRoot("")).items() if key != "folder")
"""Names that a sweep may not have."""
