"""`longtake weights`: what is here of the published weights, and the steps that bring, convert and check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import ABSENT, folder_of, state, weights_root
from longtake.platform.weights.catalog import ARTEFACTS, Artefact, chosen, needed_by

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

Say = Callable[[str], None]


def show(console: Console) -> int:
    """One row per artefact of the catalogue."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("artefact", "origin", "licence", "on disk", "state", "needed by"):
        whole = name in ("artefact", "on disk")  # what one types stays in one piece
        table.add_column(name, justify="right" if name == "on disk" else "left", no_wrap=whole, overflow="fold")
    for artefact in ARTEFACTS.values():
        manifest = manifests.read(folder_of(artefact.name))
        origin = f"{manifest.repo} {(manifest.commit or 'local')[:8]}" if manifest else artefact.origins[0].repo
        needs = ", ".join(needed_by(artefact.name)) or "-"
        table.add_row(artefact.name, origin, artefact.licence, size(artefact), state(artefact), needs)
    console.print(table)
    console.print(f"in {weights_root()}", soft_wrap=True)
    return 0


def size(artefact: Artefact) -> str:
    files = [path for path in folder_of(artefact.name).rglob("*") if path.is_file()]
    held = sum(path.stat().st_size for path in files)
    return f"{held / 1e9:.2f} GB" if held >= 1e8 else f"{held / 1e6:.2f} MB" if held else "-"


def pull(names: list[str], source: Path | None, revision: str | None, converts: bool, say: Say) -> int:
    """Bring artefacts, from the hub or from `source`, and convert what is a pickle."""
    from longtake.platform.weights import pull as pulling

    artefacts = chosen(names)
    if revision and (source or len({artefact.origins[0].repo for artefact in artefacts}) > 1):
        raise ConfigError(f"--revision {revision}: is a commit of one repository; pull artefacts one at a time")
    for artefact in artefacts:
        if source:
            pulling.take(artefact, source, say)
        else:
            pulling.pull(artefact, revision, say)
        if converts:
            convert_one(artefact, say)
    return 0


def convert(names: list[str], delete_source: bool, say: Say) -> int:
    """Pickles to safetensors; with `delete_source`, what they were made from is deleted."""
    for artefact in chosen(names):
        convert_one(artefact, say, delete_source)
    return 0


def convert_one(artefact: Artefact, say: Say, delete_source: bool = False) -> None:
    from longtake.platform.weights.check import check_artefact, check_weights
    from longtake.platform.weights.convert import convert

    def fits(one: Artefact, weights: dict, origin: str) -> None:
        check_weights(one, networks, weights, origin)

    convert(artefact, fits, say, delete_source)
    check_artefact(artefact, networks)
    say(f"{artefact.name}: ready in {folder_of(artefact.name)}")


def verify(names: list[str], say: Say) -> int:
    """Hashes, names and shapes of artefacts (none: of all that are here); 1 when something is wrong."""
    from longtake.platform.weights.check import verify as verify_one

    artefacts = chosen(names) or [one for one in ARTEFACTS.values() if state(one) != ABSENT]
    if not artefacts:
        say(f"nothing is in {weights_root()}; longtake weights list shows what there is")
    found = {artefact.name: verify_one(artefact, networks) for artefact in artefacts}
    for name, wrong in found.items():
        for line in wrong or ["right"]:
            say(f"{name}: {line}")
    return 1 if any(found.values()) else 0


def networks(artefact: str) -> Iterator[nn.Module]:
    """The empty networks of the backbones that name an artefact, each architecture once."""
    import torch

    from longtake.platform.backbones.base import backbones
    from longtake.platform.models.causal_dit import CausalDiT

    users = [backbones.get(name) for name in backbones.names()]
    named = [user for user in users if artefact in getattr(user, "artefacts", dict)().values()]
    for spec in dict.fromkeys(user.spec.network for user in named):
        with torch.device("meta"):
            network = CausalDiT(spec)
        yield network
