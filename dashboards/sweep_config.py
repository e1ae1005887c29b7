"""What the page needs of a kept sweep.yaml: the labels of its suites, and its MLflow address if that is on the web.

Only the plan of a sweep is required, so a config that cannot be read has neither.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from longtake.platform.errors import LongtakeError
from longtake.platform.names import NAME
from longtake.platform.settings import strict_yaml
from longtake.platform.store.sweep import SweepStore


def config_of(store: SweepStore) -> dict[str, Any]:
    """The resolved sweep config; empty if it cannot be read."""
    try:
        config = strict_yaml.parse(store.config_yaml() or "", store.name)
    except (LongtakeError, UnicodeDecodeError):
        return {}
    return config if isinstance(config, dict) else {}


def suites_of(store: SweepStore) -> list[str]:
    """The labels of the sweep's suites."""
    entries = config_of(store).get("suites")
    return [label_of(entry) for entry in entries if label_of(entry)] if isinstance(entries, list) else []


def label_of(entry: Any) -> str:
    """`NAME`, `{NAME: ...}` or `{NAME: ..., as: LABEL}`; '' for anything else, or for an invalid label."""
    label = entry.get("as", next(iter(entry), "")) if isinstance(entry, dict) else entry
    return label if isinstance(label, str) and NAME.fullmatch(label) else ""


def mlflow_of(store: SweepStore) -> str | None:
    """An http(s) address without user, password and query; None for anything else."""
    tracking = config_of(store).get("tracking")
    uri = tracking.get("uri") if isinstance(tracking, dict) else None
    try:
        parts = urlsplit(uri) if isinstance(uri, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            return None
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
