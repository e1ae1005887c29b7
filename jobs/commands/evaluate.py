"""`longtake eval`: scores of any folder of videos."""

from __future__ import annotations

from longtake.jobs.commands.options import options_of
from longtake.jobs.folder_eval.options import FolderEvalOptions


@options_of(FolderEvalOptions)
def evaluate(options: FolderEvalOptions) -> int:
    """Score every video in a folder. Exits with 3 if a metric of a video has no value."""
    from longtake.jobs.folder_eval.run import eval_folder

    return eval_folder(options)
