"""What can run here: every dimension of every suite and every backbone, with what it lacks and the command for that.

Nothing is loaded: packages are looked up by name, weights by their records.
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
    """`missing`: one line for each thing that is missing, with its command; none: it can run."""

    group: str
    name: str
    missing: tuple[str, ...] = ()


def dimensions() -> Iterator[Capability]:
    """A row for each metric of each suite, and for what a variant of the suite changes."""
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
    """A row for each backbone: the packages that its weights are read with, and the weights themselves."""
    from longtake.platform.backbones.base import backbones as known

    for name in known.names():
        user, missing = known.get(name), list[str]()
        if user.artefacts():
            missing += [f"{one} is not installed; run pip install 'longtake[{WAN}]'" for one in uninstalled(WAN)]
        try:
            user.fingerprint()
        except WeightsError as error:
            missing.append(short(str(error)))
        yield Capability("backbones", name, tuple(missing))


def uninstalled(extra: str = "") -> list[str]:
    """What longtake declares, for an extra or for all, and is not installed."""
    return [name for name in declared(extra) if not is_installed(name)]


def declared(extra: str = "") -> list[str]:
    """Names of distributions that an extra of longtake asks for; no extra: that it always needs."""
    found = []
    for line in requires("longtake") or []:
        wanted, _, marker = line.partition(";")
        named = re.search(r"""extra == ["']([\w-]+)["']""", marker)
        name = re.match(r"[\w.-]+", wanted)
        if name and (named[1] if named else "") == extra:
            found.append(name[0])
    return found


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def short(line: str) -> str:
    """A message without the folder of weights, which is shown once."""
    from longtake.platform.weights.artefacts import weights_root

    return line.replace(f"{weights_root()}/", "").replace(f"{weights_root()}: ", "")
