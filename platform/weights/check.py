"""Verifies weights: bytes against the manifest, names and shapes against the architecture.

The caller provides the architectures: `networks` returns the empty networks that use an artefact, or its published
names and shapes. Reads the headers of weights only. NaN and infinity are refused when weights are loaded.
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
    expected_files,
    folder_of,
    missing_patterns,
    require,
    state,
    usable_files,
)
from longtake.platform.weights.entries import Artefact
from longtake.platform.weights.vbench import METRIC, RESULT

if TYPE_CHECKING:
    from torch import Tensor, nn

    from longtake.platform.models.causal_dit import CausalDiT

Networks = Callable[[str], "Iterable[nn.Module | Mapping[str, Shape]]"]
"""An artefact's name -> networks on the meta device, or published names and shapes; the artefact must fit one."""


def check_weights(artefact: Artefact, networks: Networks, weights: "dict[str, Tensor]", origin: str) -> None:
    """Raises WeightsError unless weights in memory fit a network that uses them."""
    shapes, users = shapes_of(weights), networks(artefact.name)
    if artefact.kind in ("generator", METRIC):
        fits_any(users, lambda network: check_fit(shapes, needed_shapes(network), origin))
    elif artefact.kind == "lora":
        pairs = lora_pairs(weights, origin)
        fits_any(users, lambda network: check_pairs(pairs, shapes, needed_shapes(network), origin))


def check_artefact(artefact: Artefact, networks: Networks) -> None:
    """Raises WeightsError unless the usable files exist and have the names and shapes of a network that uses them."""
    folder, users = artefact_folder(artefact.name), networks(artefact.name)
    if artefact.kind == METRIC:
        shapes = header_shapes(folder / RESULT, str)
        fits_any(users, lambda network: check_fit(shapes, needed_shapes(network), str(folder / RESULT)))
    elif artefact.kind == "generator":
        fits_any(users, lambda network: check_header(folder / "generator.safetensors", cast("nn.Module", network)))
    elif artefact.kind == "lora":
        fits_any(users, lambda network: check_lora_header(folder / "lora.safetensors", cast("nn.Module", network)))
    elif artefact.kind == "text":
        from longtake.platform.models.text.encoder import check_text, check_width

        check_text(folder)
        fits_any(users, lambda network: check_width(folder, cast("CausalDiT", network).spec.text_dim))
    elif artefact.kind == "embedder":
        from longtake.platform.models.embedder import check_embedder

        check_embedder(folder / "embedder.safetensors")
    elif artefact.kind == "vae":
        from longtake.platform.models.vae.wan import check_vae

        check_vae(folder)


def needed_shapes(user: "nn.Module | Mapping[str, Shape]") -> Mapping[str, Shape]:
    return user if isinstance(user, Mapping) else shapes_of(user.state_dict())


def fits_any(
    users: "Iterable[nn.Module | Mapping[str, Shape]]", check: "Callable[[nn.Module | Mapping[str, Shape]], None]"
) -> None:
    """Run the check on each network until one passes. If none does, raises the first error."""
    errors = []
    for user in users:
        try:
            return check(user)
        except WeightsError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def verify(artefact: Artefact, networks: Networks) -> list[str]:
    """Compute all hashes again, then check names and shapes. Returns one line per error. Raises WeightsError if absent.

    If only a file's modification time differs, as in a copied folder, the new time is recorded.
    """
    folder = folder_of(artefact.name)
    require(artefact)
    with manifests.locked(folder):
        errors = check_bytes(artefact, folder)
    if not errors and state(artefact) == PULLED:
        errors = [f"{folder}: is not converted; run longtake weights convert {artefact.name}"]
    if not errors:
        try:
            check_artefact(artefact, networks)
        except WeightsError as error:
            errors = [str(error)]
    return errors


def check_bytes(artefact: Artefact, folder: Path) -> list[str]:
    """Errors for files that are missing, changed or not recorded. Records the modification times of the others."""
    manifest, errors = require(artefact), list[str]()
    files = dict(manifest.files)
    for place, record in expected_files(folder, manifest).items():
        verb = "convert" if (folder / str(record.converted_from)).is_file() else "pull"
        command = f"run longtake weights {verb} {artefact.name}"
        path = folder / place
        if not path.is_file():
            errors.append(f"{path}: file not found; {command}")
        elif sha256(path) != record.sha256:
            errors.append(f"{path}: its sha256 is not the recorded {record.sha256[:12]}; delete it and {command}")
        else:
            files[place] = replace(record, mtime_ns=path.stat().st_mtime_ns)
    manifests.write(folder, replace(manifest, files=files))
    places = sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file())
    extra = [place for place in places if place not in {*files, manifests.MANIFEST}]
    errors += [f"{folder / place}: is not recorded; delete it" for place in extra]
    missing = [] if state(artefact) == PULLED else missing_patterns(artefact, usable_files(manifest))
    pull = f"is not recorded; run longtake weights pull {artefact.name}"
    return errors + [f"{folder / place}: {pull}" for place in missing]
