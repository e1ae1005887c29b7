"""Whether weights are what they should be: bytes against the manifest, names and shapes against the architecture.

An architecture is asked for, not known: `networks` gives the empty networks that use an artefact, or the names and
shapes that its publisher gave it. Reads headers of
weights, never the numbers; numbers that are not finite are refused where they are loaded.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from longtake.platform.checkpoints.files import check_header, check_lora_header, header_shapes, sha256
from longtake.platform.checkpoints.keys import Shape, check_fit, shapes_of
from longtake.platform.checkpoints.lora import check_pairs, lora_pairs
from longtake.platform.errors import WeightsError
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import (
    PULLED,
    artefact_folder,
    expected,
    folder_of,
    require,
    state,
    unmet,
    usable,
)
from longtake.platform.weights.entries import Artefact
from longtake.platform.weights.vbench import METRIC, RESULT

if TYPE_CHECKING:
    from torch import Tensor, nn

    from longtake.platform.models.causal_dit import CausalDiT

Networks = Callable[[str], "Iterable[nn.Module | Mapping[str, Shape]]"]
"""An artefact's name -> the networks, on the meta device, or tables of published names and shapes, that it may fit."""


def check_weights(artefact: Artefact, networks: Networks, weights: "dict[str, Tensor]", origin: str) -> None:
    """WeightsError unless weights in memory are those of a network that uses them."""
    shapes, users = shapes_of(weights), networks(artefact.name)
    if artefact.kind in ("generator", METRIC):
        fits_one(users, lambda one: check_fit(shapes, needed_shapes(one), origin))
    elif artefact.kind == "lora":
        pairs = lora_pairs(weights, origin)
        fits_one(users, lambda one: check_pairs(pairs, shapes, needed_shapes(one), origin))


def check_artefact(artefact: Artefact, networks: Networks) -> None:
    """WeightsError unless the usable files are there, with the names and shapes of what they are loaded into."""
    folder, users = artefact_folder(artefact.name), networks(artefact.name)
    if artefact.kind == METRIC:
        shapes = header_shapes(folder / RESULT, str)
        fits_one(users, lambda one: check_fit(shapes, needed_shapes(one), str(folder / RESULT)))
    elif artefact.kind == "generator":
        fits_one(users, lambda one: check_header(folder / "generator.safetensors", cast("nn.Module", one)))
    elif artefact.kind == "lora":
        fits_one(users, lambda one: check_lora_header(folder / "lora.safetensors", cast("nn.Module", one)))
    elif artefact.kind == "text":
        from longtake.platform.models.text.encoder import check_text, check_width

        check_text(folder)
        fits_one(users, lambda one: check_width(folder, cast("CausalDiT", one).spec.text_dim))
    elif artefact.kind == "embedder":
        from longtake.platform.models.embedder import check_embedder

        check_embedder(folder / "embedder.safetensors")
    elif artefact.kind == "vae":
        from longtake.platform.models.vae.wan import check_vae

        check_vae(folder)


def needed_shapes(user: "nn.Module | Mapping[str, Shape]") -> Mapping[str, Shape]:
    return user if isinstance(user, Mapping) else shapes_of(user.state_dict())


def fits_one(
    users: "Iterable[nn.Module | Mapping[str, Shape]]", check: "Callable[[nn.Module | Mapping[str, Shape]], None]"
) -> None:
    """Passes if a check passes for one of the networks, or there is none; else the first one's error."""
    errors = []
    for user in users:
        try:
            return check(user)
        except WeightsError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def verify(artefact: Artefact, networks: Networks) -> list[str]:
    """What is wrong, a line each: hashes of all files again, then names and shapes. Raises WeightsError if absent.

    Files that are right but were touched, as a copy of the folder is, are recorded anew.
    """
    folder = folder_of(artefact.name)
    require(artefact)
    with manifests.working_on(folder):
        wrong = wrong_bytes(artefact, folder)
    if not wrong and state(artefact) == PULLED:
        wrong = [f"{folder}: is not converted; run longtake weights convert {artefact.name}"]
    if not wrong:
        try:
            check_artefact(artefact, networks)
        except WeightsError as error:
            wrong = [str(error)]
    return wrong


def wrong_bytes(artefact: Artefact, folder: Path) -> list[str]:
    """Files that are missing, have another hash than recorded, or were never recorded; what is right is recorded."""
    manifest, wrong = require(artefact), []
    files = dict(manifest.files)
    for place, known in expected(folder, manifest).items():
        verb = "convert" if (folder / str(known.converted_from)).is_file() else "pull"
        again = f"run longtake weights {verb} {artefact.name}"
        path = folder / place
        if not path.is_file():
            wrong.append(f"{path}: is not there; {again}")
        elif sha256(path) != known.sha256:
            wrong.append(
                f"{path}: has another sha256 than {known.sha256[:12]}, which was recorded; delete it and {again}"
            )
        else:
            files[place] = replace(known, mtime_ns=path.stat().st_mtime_ns)
    manifests.write(folder, replace(manifest, files=files))
    strange = sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file())
    wrong += [
        f"{folder / one}: is not recorded; delete it" for one in strange if one not in {*files, manifests.MANIFEST}
    ]
    lacking = [] if state(artefact) == PULLED else unmet(artefact, usable(manifest))
    return wrong + [f"{folder / one}: is not recorded; run longtake weights pull {artefact.name}" for one in lacking]
