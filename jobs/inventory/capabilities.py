"""Which suites and backbones can run on this machine: what each dimension and backbone still needs, and the command.

Loads no model: looks up packages by name and weights by their manifests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from longtake.platform.errors import WeightsError

if TYPE_CHECKING:
    from longtake.evaluators.base import Metric

WAN = "wan"


@dataclass(frozen=True)
class Capability:
    """A dimension or backbone. `missing`: one line per missing part, with its command; empty if it can run."""

    group: str
    name: str
    missing: tuple[str, ...] = ()


def dimensions() -> Iterator[Capability]:
    """Yields one row per metric of each suite, and one per metric whose networks differ in a variant of the suite."""
    from longtake.evaluators.base import suites

    for name in suites.names():
        plain = suites.get(name)()
        yield from (dimension(name, metric) for metric in plain.all_metrics().values())
        for variant, further in plain.variants().items():
            for key, metric in further.all_metrics().items():
                if metric.networks() != plain.metric(key).networks():
                    yield dimension(f"{name} {variant}", metric)


def dimension(group: str, metric: Metric) -> Capability:
    from longtake.evaluators.models.base import missing

    lines = (short(line) for network in metric.networks() for line in missing(network))
    return Capability(group, metric.name, tuple(dict.fromkeys(lines)))


def backbones() -> Iterator[Capability]:
    """Yields one row per backbone, which needs its weights and the packages that read them."""
    from longtake.platform.backbones.base import backbones as known

    for name in known.names():
        backbone, missing = known.get(name), list[str]()
        if backbone.artefacts():
            missing += [f"{name} is not installed; run pip install '.[{WAN}]'" for name in missing_requirements(WAN)]
        try:
            backbone.fingerprint()
        except WeightsError as error:
            missing.append(short(str(error)))
        yield Capability("backbones", name, tuple(missing))


def missing_requirements(extra: str = "") -> list[str]:
    """The missing requirements of an extra of longtake, or of longtake itself."""
    return [name for name in requirements_of(extra) if not is_installed(name)]


def requirements_of(extra: str = "") -> list[str]:
    """Names of the distributions that an extra of longtake requires; without an extra, those that longtake requires."""
    names = []
    for line in requires("longtake") or []:
        requirement, _, marker = line.partition(";")
        extra_match = re.search(r"""extra == ["']([\w-]+)["']""", marker)
        name = re.match(r"[\w.-]+", requirement)
        if name and (extra_match[1] if extra_match else "") == extra:
            names.append(name[0])
    return names


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def short(line: str) -> str:
    """The message without the path of the weights folder, which the report shows once."""
    from longtake.platform.weights.artefacts import weights_root

    return line.replace(f"{weights_root()}/", "").replace(f"{weights_root()}: ", "")
