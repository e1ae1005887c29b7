"""Gives the runs of a sweep in MLflow another name, so that the next publication finds them. Safe to repeat."""

from __future__ import annotations

from typing import Any

from longtake.platform.tracking.client import TrackingError, writing
from longtake.platform.tracking.file_places import FILES, files_folder, home_of
from longtake.platform.tracking.publish import KEY

SWEEP = "longtake.sweep"


def rename_sweep(uri: str, old: str, new: str, experiment: str | None = None) -> int:
    """Renames the runs of the sweep `old`, and its experiment unless that has a name of its own, `experiment`. Returns
    the number of runs. Raises TrackingError."""
    with writing(uri, "rename it again") as client:
        found = client.get_experiment_by_name(experiment or old)
        if experiment is None:
            taken = client.get_experiment_by_name(new)
            if found is not None and taken is not None:
                raise TrackingError(f"tracking: an experiment {new!r} exists already; choose another name")
            if found is not None:
                rename_experiment(client, found, new, home_of(uri) is not None)
            found = found or taken
        return 0 if found is None else rename_runs(client, str(found.experiment_id), old, new)


def rename_experiment(client: Any, found: Any, new: str, is_local: bool) -> None:
    """Its files stay in their folder, which earlier versions knew by the experiment's name alone."""
    if is_local and FILES not in found.tags:
        client.set_experiment_tag(found.experiment_id, FILES, files_folder(found.name))
    client.rename_experiment(found.experiment_id, new)


def rename_runs(client: Any, experiment: str, old: str, new: str) -> int:
    runs = list(pages(client, experiment, f"tags.`{SWEEP}` = '{old}'"))
    for run in runs:
        kind, _, rest = run.data.tags.get(KEY, "").partition(":")
        if rest == old:
            client.update_run(run.info.run_id, name=new)
        if rest == old or rest.startswith(f"{old}:"):
            client.set_tag(run.info.run_id, KEY, f"{kind}:{new}{rest.removeprefix(old)}")
        client.set_tag(run.info.run_id, SWEEP, new)  # last: a run with the old one is renamed again
    return len(runs)


def pages(client: Any, experiment: str, query: str) -> Any:
    token = None
    while True:
        page = client.search_runs([experiment], filter_string=query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
