"""The backbone that a worker has loaded, compared with what the takes were planned with.

A take's id promises the weights and the code of its fingerprint. A node with other weights or another version, or a
pull during a sweep, would give other pixels under the same id, so such a take is refused before it is generated.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longtake.jobs.workers.agreement import OF_PIXELS, Folder, check_versions, installed
from longtake.platform.errors import LongtakeError, SetupError, WeightsError, brief
from longtake.platform.machine.process import set_up_computing
from longtake.platform.machine.resources import Resources
from longtake.platform.takes import Take

LoadSampler = Callable[[str, Resources], Any]
CODE = ("engine", "decode", "precision", "method.version")
"""Parts of a fingerprint that come from the code and the settings of a sampler rather than from files."""
PLUGIN = "plugin."
SAMPLERS = "samplers"
ABSENT = "nothing"


def load_sampler(backbone: str, resources: Resources) -> Any:
    from longtake.platform.generation.sampler import Sampler

    return Sampler(backbone, resources)


class LoadedSampler:
    """Holds the sampler of one backbone and the fingerprint of what it loaded; another backbone replaces both."""

    def __init__(self, resources: Resources, load: LoadSampler = load_sampler):
        self.resources, self.load = resources, load
        self.backbone = ""
        self.sampler: Any = None
        self.fingerprint: dict[str, str] = {}

    def prepare(self, store: Folder, takes: Sequence[Take]) -> tuple[float, dict[str, str]]:
        """Load the backbone of takes of one cell if needed; returns the seconds that this took, and their fingerprint.

        Raises like `check`, and SetupError if the first sampler of this run of `store` had other packages.
        """
        load_seconds = self.ensure(takes[0].backbone)
        loaded = self.check(takes)
        if load_seconds:
            check_versions(store, SAMPLERS, installed(OF_PIXELS))
        return load_seconds, loaded

    def ensure(self, backbone: str) -> float:
        """Load the backbone if needed; returns the seconds that this took."""
        if backbone == self.backbone:
            return 0.0
        started = time.perf_counter()
        set_up_computing()
        self.sampler, self.backbone = None, ""
        gc.collect()  # a compiled network is a reference cycle; free its memory now
        try:
            before = self.on_disk(backbone)
            self.sampler = self.load(backbone, self.resources)
            if self.on_disk(backbone) != before:
                raise WeightsError("its weights changed while they were loaded; run again")
        except WeightsError as error:
            raise WeightsError(f"backbone {backbone} on {node()}: {error}") from error
        except LongtakeError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {brief(error)}"
            raise SetupError(f"backbone {backbone} cannot be loaded ({reason}); fix the cause and run again") from error
        self.backbone, self.fingerprint = backbone, before
        return time.perf_counter() - started

    def on_disk(self, backbone: str) -> dict[str, str]:
        """The fingerprint of the backbone as this machine has it. Raises WeightsError."""
        from longtake.platform.backbones.base import backbones
        from longtake.platform.generation.fingerprint import of_backbone

        return of_backbone(backbones.get(backbone), self.resources.precision, self.resources.decode)

    def check(self, takes: Sequence[Take]) -> dict[str, str]:
        """The fingerprint of takes of one cell as this worker generates them.

        Raises WeightsError or SetupError, with the part, both values, this node and the next step, if a take was
        planned with another one. Takes without a fingerprint are not checked.
        """
        from longtake.platform.generation.fingerprint import of_method
        from longtake.platform.generation.sampler import method_config

        here = self.fingerprint | of_method(method_config(takes[0]))
        for take in takes:
            planned = {name: value for name, value in take.fingerprint if not is_label(name)}
            if planned and planned != here:
                raise self.difference(take, planned, here)
        return here

    def difference(self, take: Take, planned: Mapping[str, str], here: Mapping[str, str]) -> LongtakeError:
        from longtake.platform.backbones.base import backbones

        artefacts = backbones.get(take.backbone).artefacts()
        differing = [name for name in sorted({*planned, *here}) if planned.get(name) != here.get(name)]
        name = next((name for name in differing if name not in CODE), differing[0])
        label = f"{name} ({artefacts[name]})" if name in artefacts else name
        values = f"{short(here.get(name))} on {node()}, but the sweep was planned with {short(planned.get(name))}"
        kind = SetupError if name in CODE or name.startswith(PLUGIN) else WeightsError
        return kind(f"{take.cell}: {label} is {values}; {next_step(name, artefacts.get(name))}")


def node() -> str:
    return f"node {socket.gethostname()}"


def is_label(name: str) -> bool:
    """Whether a part is only the label of a registered model, whose hash is another part."""
    return name.startswith("method.") and name.endswith(".version") and name not in CODE


def short(value: str | None) -> str:
    """A hash by its first digits."""
    return ABSENT if value is None else f"sha256 {value[:12]}" if len(value) == 64 else repr(value)


def next_step(name: str, artefact: str | None) -> str:
    if name.startswith(PLUGIN):
        return f"install the same {name.removeprefix(PLUGIN)} on every node and run again"
    if name in CODE:
        return "install the same version of longtake on every node and run again"
    if artefact:
        get = f"longtake weights pull {artefact}"
        return f"give every node the same weights ({get}) and run again, or choose another name for the sweep"
    return "copy the same file to every node and run again, or choose another name for the sweep"
