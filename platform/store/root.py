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


SPECS = {"sweep.yaml": 1, "corpus.yaml": 2}
"""The names of resolved specs, and how many folders above its own folder the output folder is."""


def place_of_spec(file: Path) -> tuple[Path, str] | None:
    """(output folder, name) of the sweep or corpus whose resolved spec this file is; None for any other file.

    A store may have been moved or copied since the file was written.
    """
    folder, levels = Path(file).absolute().parent, SPECS.get(Path(file).name)
    if levels is None or not (folder / "plan.jsonl").is_file():
        return None
    output = folder.parents[levels - 1]
    return (output, folder.name) if levels == 1 or folder.parent == OutputRoot(output).corpora else None


RESERVED = frozenset(path.name for key, path in vars(OutputRoot("")).items() if key != "folder")
"""Names that a sweep may not have."""
