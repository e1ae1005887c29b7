"""`longtake weights`: what is here of the published weights, and the steps that bring, convert and check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError
from longtake.platform.weights import manifest as manifests
from longtake.platform.weights.artefacts import ABSENT, READY, folder_of, recorded_sha256, state, weights_root
from longtake.platform.weights.catalog import ARTEFACTS, groups_with, select
from longtake.platform.weights.entries import Artefact
from longtake.platform.weights.vbench import METRIC

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

    from longtake.platform.checkpoints.keys import Shape

Say = Callable[[str], None]


def show(console: Console) -> int:
    """One row per artefact of the catalogue."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("artefact", "origin", "licence", "size", "state", "sha256", "needed by"):
        whole = name in ("artefact", "size", "sha256")  # what one types or compares stays in one piece
        table.add_column(name, justify="right" if name == "size" else "left", no_wrap=whole, overflow="fold")
    for artefact in ARTEFACTS.values():
        needs = ", ".join(groups_with(artefact.name)) or "-"
        cells = (origin(artefact), artefact.licence, size(artefact), state(artefact), sha256(artefact), needs)
        table.add_row(artefact.name, *cells)
    console.print(table)
    console.print(f"in {weights_root()}; ~ what a pull fetches; sha256: the one that results record", soft_wrap=True)
    return 0


def origin(artefact: Artefact) -> str:
    """Where what is here is from, else where a pull fetches from."""
    manifest = manifests.read(folder_of(artefact.name))
    if manifest is None:
        return artefact.origins[0].repo
    is_local = manifest.commit is None and "://" not in manifest.taken_from
    return f"{manifest.repo} {'local' if is_local else (manifest.commit or '')[:8]}".rstrip()


def size(artefact: Artefact) -> str:
    """Of what is here, else of what a pull will fetch, where that is known."""
    files = [path for path in folder_of(artefact.name).rglob("*") if path.is_file()]
    held = sum(path.stat().st_size for path in files)
    told = held or artefact.expected_bytes
    amount = f"{told / 1e9:.2f} GB" if told >= 1e8 else f"{told / 1e6:.2f} MB"
    return "-" if not told else amount if held else f"~{amount}"


def sha256(artefact: Artefact) -> str:
    return recorded_sha256(artefact.name)[:12] if state(artefact) == READY else "-"


def pull(names: list[str], source: Path | None, revision: str | None, converts: bool, say: Say) -> int:
    """Bring artefacts, from where they are published or from `source`, and convert what must be."""
    from longtake.platform.weights import pull as pulling

    artefacts = select(names)
    if revision and (source or len({one.origins[0].repo for one in artefacts}) > 1):
        raise ConfigError(f"--revision {revision}: is a commit of one repository; pull artefacts one at a time")
    for artefact in artefacts:
        if source:
            pulling.import_files(artefact, source, say)
        else:
            pulling.pull(artefact, revision, say)
        if converts:
            convert_one(artefact, say)
    return 0


def convert(names: list[str], delete_source: bool, say: Say) -> int:
    """Pickles and archives to safetensors; with `delete_source`, what they were made from is deleted."""
    for artefact in select(names):
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

    artefacts = select(names) or [one for one in ARTEFACTS.values() if state(one) != ABSENT]
    if not artefacts:
        say(f"nothing is in {weights_root()}; longtake weights list shows what there is")
    found = {artefact.name: verify_one(artefact, networks) for artefact in artefacts}
    for name, wrong in found.items():
        for line in wrong or ["right"]:
            say(f"{name}: {line}")
    return 1 if any(found.values()) else 0


def networks(artefact: str) -> Iterator[nn.Module | Mapping[str, Shape]]:
    """What an artefact may fit: of a metric every published form, else the backbones' networks, each once, empty."""
    if ARTEFACTS[artefact].kind == METRIC:
        from longtake.evaluators.models.published import forms

        yield from (shapes for form, shapes in forms().items() if form.partition("/")[0] == artefact)
        return
    from longtake.platform.backbones.base import backbones
    from longtake.platform.models.causal_dit import empty_dit

    users = [backbones.get(name) for name in backbones.names()]
    named = [user for user in users if artefact in user.artefacts().values()]
    yield from map(empty_dit, dict.fromkeys(user.spec.network for user in named))
