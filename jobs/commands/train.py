"""`longtake train`: pocket backbones and retrieval embedders."""

from __future__ import annotations

from longtake.jobs import shipped
from longtake.jobs.commands.arguments import Overrides, TrainingFile
from longtake.jobs.commands.options import options_of
from longtake.jobs.embedder.options import EmbedderEvalOptions


def pocket(config: TrainingFile, overrides: Overrides = None) -> int:
    """Train a pocket backbone from a seed. Run it again to resume."""
    from longtake.jobs.pocket import pocket as train_pocket

    return train_pocket(shipped.find(shipped.TRAININGS, config), overrides or [])


def embedder(config: TrainingFile, overrides: Overrides = None) -> int:
    """Train a retrieval embedder on a corpus with all available workers. Run it again to resume."""
    from longtake.jobs.embedder.train import embedder as train_embedder

    return train_embedder(shipped.find(shipped.TRAININGS, config), overrides or [])


@options_of(EmbedderEvalOptions)
def eval_embedder(options: EmbedderEvalOptions) -> int:
    """Evaluate descriptors on videos with known ground truth, with controls. Logs figures to MLflow."""
    from longtake.jobs.embedder.evaluate import evaluate

    return evaluate(options)
