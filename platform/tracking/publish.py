"""Publishes runs to MLflow so that publishing twice changes nothing.

Every run has a key and is looked up by it before it is created. A run with an equal content hash is not changed; of a
changed one, only what changed is written. A publication that was cut off is completed by the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from longtake.platform.build_info import commit
from longtake.platform.store.plans import OUTPUT
from longtake.platform.tracking.client import TrackingError, writing
from longtake.platform.tracking.file_places import CONTENT, FILES, files_folder, home_of
from longtake.platform.tracking.points import log_changed
from longtake.platform.tracking.records import RUN_ID, Publication, Published, RunRecord, TextSet

KEY, REVISION = "longtake.key", "longtake.revision"
NOTE, COMMIT = "mlflow.note.content", "mlflow.source.git.commit"
KIND, TRAINING_KIND = "mlflow.experimentKind", "custom_model_development"
"""The tag with which MLflow opens an experiment on its runs and not on traces of calls, of which there are none."""
PARAM_LIMIT, TAG_LIMIT = 6000, 5000


def no_check() -> None:
    """Lets every publication go on."""


def publish(publication: Publication, uri: str, check: Callable[[], None] = no_check) -> Published:
    """Writes the publication to the tracking store; writes nothing for unchanged runs. `check` is called before each
    run and raises if the publication is out of date, which ends it there. Raises TrackingError, and what `check`
    raises."""
    with writing(uri) as client:
        return put_all(client, publication, home_of(uri), check)


def put_all(client: Any, publication: Publication, home: Path | None, check: Callable[[], None]) -> Published:
    check()
    experiment = ensure_experiment(client, publication.experiment, home)
    parent, changed = put_run(client, experiment, publication.parent, {})
    for record in publication.children:
        check()
        changed += put_run(client, experiment, record, {"mlflow.parentRunId": parent})[1]
    return Published(1 + len(publication.children), changed, experiment)


def ensure_experiment(client: Any, name: str, home: Path | None) -> str:
    """The id of the experiment, created if needed; with a `home`, its files are in that folder. Raises TrackingError if
    an experiment of that name is deleted."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        folder = files_folder(name)
        location = f"{home.as_uri()}/{folder}" if home else None
        return str(client.create_experiment(name, location, {KIND: TRAINING_KIND} | ({FILES: folder} if home else {})))
    if experiment.lifecycle_stage != "active":
        raise TrackingError(f"tracking: the experiment {name!r} is deleted; restore it, or set tracking.experiment")
    if KIND not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, KIND, TRAINING_KIND)
    return str(experiment.experiment_id)


def put_run(client: Any, experiment: str, record: RunRecord, links: dict[str, str]) -> tuple[str, int]:
    """Returns (run id, 1 if written else 0). Writes the content tag last: without it, the run is written again."""
    run = find_run(client, experiment, record.key) or find_earlier(client, experiment, record)
    digest = record.digest()
    if run is None:
        run = create_run(client, experiment, record, links)
    elif run.data.tags.get(CONTENT) == digest:
        return str(run.info.run_id), 0
    run_id, revision = str(run.info.run_id), int(run.data.tags.get(REVISION, "0")) + 1
    client.set_tag(run_id, REVISION, str(revision))  # the next one has later times, also if this one is cut off
    log_changed(client, run, record, run.info.start_time + revision)
    for path, folder in record.artifacts:
        client.log_artifact(run_id, str(path), folder or None)
    for name, text in record.texts.items():
        client.log_text(run_id, text, name)
    log_dataset(client, run_id, record.dataset)
    log_texts(client, run, record, {CONTENT: digest})
    client.set_terminated(run_id, status="FINISHED", end_time=in_ms(record.ended))
    return run_id, 1


def find_run(client: Any, experiment: str, key: str) -> Any:
    """The oldest run with this key; None if there is none."""
    query = f"tags.`{KEY}` = '{key}'"
    runs = client.search_runs([experiment], filter_string=query, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def find_earlier(client: Any, experiment: str, record: RunRecord) -> Any:
    """The run of an earlier version, whose key contained paths of weights; None if there is none. Renews its key."""
    if not record.same:
        return None
    query = " and ".join(f"tags.`{name}` = '{record.tags[name]}'" for name in sorted(record.same))
    fixed = {name: value for name, value in record.params.items() if not value.startswith(OUTPUT)}
    for run in client.search_runs([experiment], filter_string=query, order_by=["attributes.start_time ASC"]):
        if fixed.items() <= run.data.params.items():
            client.set_tag(run.info.run_id, KEY, record.key)
            return run
    return None


def create_run(client: Any, experiment: str, record: RunRecord, links: dict[str, str]) -> Any:
    """A new run that says who made it, with which code, and when the work started."""
    tags = {KEY: record.key, "mlflow.runName": record.name, "mlflow.user": user_name(), **links}
    tags |= {"mlflow.source.name": "longtake", "mlflow.source.type": "JOB"}
    tags |= {COMMIT: now} if COMMIT not in record.tags and (now := commit()) else {}
    return client.create_run(experiment, in_ms(record.started), tags, record.name)


def user_name() -> str:
    """The user's name, or the number of a user without a name, as in containers."""
    import getpass
    import os

    with suppress(OSError, KeyError):
        return getpass.getuser()
    return f"uid {os.getuid()}"


def in_ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)


def log_dataset(client: Any, run_id: str, texts: TextSet | None) -> None:
    """Logs the texts as an input of the run; the same texts are one dataset of the experiment. MLflow gets their number
    and hash; the texts themselves are among the files of the run."""
    if texts is None:
        return
    from mlflow.entities import Dataset, DatasetInput, InputTag

    schema = {"mlflow_colspec": [{"type": "string", "name": texts.name, "required": True}]}
    source = {"tags": {"mlflow.source.name": "longtake"}}
    profile = {"num_rows": len(texts.texts)}
    dataset = Dataset(texts.name, texts.digest(), "code", json.dumps(source), json.dumps(schema), json.dumps(profile))
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", texts.name)])])


def log_texts(client: Any, run: Any, record: RunRecord, tags: dict[str, str]) -> None:
    """Logs params that the run does not have, then tags, clipped visibly where MLflow would truncate silently."""
    from mlflow.entities import Param, RunTag

    new = {name: value for name, value in record.params.items() if name not in run.data.params}
    params = [Param(name, clipped(value, PARAM_LIMIT)) for name, value in new.items()]
    for start in range(0, len(params), 100):
        client.log_batch(run.info.run_id, params=params[start : start + 100])
    note = {NOTE: record.note.replace(RUN_ID, run.info.run_id)} if record.note else {}
    all_tags = [RunTag(name, clipped(value, TAG_LIMIT)) for name, value in (record.tags | note | tags).items()]
    client.log_batch(run.info.run_id, tags=all_tags)


def clipped(text: str, limit: int) -> str:
    """Cuts a long text and appends the hash of the whole."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 40]}... (cut; sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"
