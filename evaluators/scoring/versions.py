"""Cache keys and versions of scores: metric versions, settings, weights, libraries and the device."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version

import av
import cv2
import numpy as np

from longtake.evaluators.base import Metric, SuiteEntry, suites
from longtake.evaluators.gpu import device_versions
from longtake.platform.plugins import fingerprint


def cache_keys(name: str, metric: Metric, entry: SuiteEntry, protocol: str, device: str) -> list[str]:
    """The cache key of a metric's result, then the keys of earlier releases for version 1, which named the suite."""
    weights = {artefact: entry.weights.get(artefact) for artefact in metric.artefacts()}
    made = [
        protocol,
        metric.cache_settings() | fingerprint(type(metric)),
        weights,
        libraries(metric.networks(), device),
    ]
    former = [f"{suite}-1" for suite in suites.names_of(entry.name)] if metric.version == 1 else []
    return [json.dumps([name, said, *made], sort_keys=True) for said in (metric.version, *former)]


def versions_of(entry: SuiteEntry, device: str = "cpu") -> dict[str, str]:
    """The versions in a record: the suite's metrics, settings and weights, libraries and the device."""
    return {**entry.stamp, **libraries(entry.suite.networks(), device), "python": platform.python_version()}


def libraries(names: Sequence[str], device: str) -> dict[str, str]:
    """Versions of the libraries that decode and compute, and of the device."""
    basics = {"av": av.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
    if not names:
        return basics
    from longtake.evaluators.models.base import DISTRIBUTIONS, networks

    packages = dict.fromkeys(package for name in names for package in ("torch", *networks.get(name).packages))
    versions = {package: version(DISTRIBUTIONS.get(package, package)) for package in packages}
    return basics | versions | device_versions(device)
