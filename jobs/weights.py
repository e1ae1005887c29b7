"""`longtake weights`: lists the published weights, and downloads, converts and checks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.platform.errors import ConfigError, LongtakeError
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
    """Prints one row per artefact of the catalogue."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("artefact", "origin", "licence", "size", "state", "sha256", "needed by"):
        whole = name in ("artefact", "size", "sha256")  # values that users copy or compare are not wrapped
        table.add_column(name, justify="right" if name == "size" else "left", no_wrap=whole, overflow="fold")
    for artefact in ARTEFACTS.values():
        needs = ", ".join(groups_with(artefact.name)) or "-"
        cells = (origin(artefact), artefact.licence, size(artefact), state(artefact), sha256(artefact), needs)
        table.add_row(artefact.name, *cells)
    console.print(table)
    console.print(f"weights folder: {weights_root()}; ~ is a download size; results record this sha256", soft_wrap=True)
    return 0


def origin(artefact: Artefact) -> str:
    """The source of the files that are here; of a missing artefact, the repository to pull from."""
    manifest = manifests.read(folder_of(artefact.name))
    if manifest is None:
        return artefact.origins[0].repo
    is_local = manifest.commit is None and "://" not in manifest.taken_from
    return f"{manifest.repo} {'local' if is_local else (manifest.commit or '')[:8]}".rstrip()


def size(artefact: Artefact) -> str:
    """The size of the files that are here; of a missing artefact, the download size if known."""
    files = [path for path in folder_of(artefact.name).rglob("*") if path.is_file()]
    local_bytes = sum(path.stat().st_size for path in files)
    num_bytes = local_bytes or artefact.expected_bytes
    amount = f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.2f} MB"
    return "-" if not num_bytes else amount if local_bytes else f"~{amount}"


def sha256(artefact: Artefact) -> str:
    return recorded_sha256(artefact.name)[:12] if state(artefact) == READY else "-"


def pull(names: list[str], source: Path | None, revision: str | None, converts: bool, say: Say) -> int:
    """Downloads artefacts, or imports them from `source`, and converts them if `converts`."""
    from longtake.platform.weights import pull as pulling

    artefacts = select(names)
    if revision and (source or len({artefact.origins[0].repo for artefact in artefacts}) > 1):
        raise ConfigError(f"--revision {revision}: a revision belongs to one repository; pull one artefact at a time")

    def pull_one(artefact: Artefact) -> None:
        if source:
            pulling.import_files(artefact, source, say)
        else:
            pulling.pull(artefact, revision, say)
        if converts:
            convert_one(artefact, say)

    try_all(artefacts, pull_one, say)
    return 0


def try_all(artefacts: list[Artefact], step: Callable[[Artefact], None], say: Say) -> None:
    """Does a step for every artefact, also after it failed for one. Raises the error of the only artefact, or one error
    that names all that failed; `say` then has the reason of each."""
    failed: dict[str, LongtakeError] = {}
    for artefact in artefacts:
        try:
            step(artefact)
        except LongtakeError as error:
            if len(artefacts) == 1:
                raise
            failed[artefact.name] = error
            say(f"{artefact.name}: {error}")
    if failed:
        rest = f"the other {len(artefacts) - len(failed)} are done; " if len(failed) < len(artefacts) else ""
        kind = type(next(iter(failed.values())))
        raise kind(
            f"{len(failed)} of {len(artefacts)} failed, for the reasons above: {', '.join(failed)}; {rest}"
            "then run the same command again"
        )


def convert(names: list[str], delete_source: bool, say: Say) -> int:
    """Converts pickles and archives to safetensors; `delete_source` deletes the original files."""
    try_all(select(names), lambda artefact: convert_one(artefact, say, delete_source), say)
    return 0


def convert_one(artefact: Artefact, say: Say, delete_source: bool = False) -> None:
    from longtake.platform.weights.check import check_artefact, check_weights
    from longtake.platform.weights.convert import convert

    def fits(part: Artefact, weights: dict, origin: str) -> None:
        check_weights(part, networks, weights, origin)

    convert(artefact, fits, say, delete_source)
    check_artefact(artefact, networks)
    say(f"{artefact.name}: ready in {folder_of(artefact.name)}")


def verify(names: list[str], say: Say) -> int:
    """Checks hashes, names and shapes of artefacts, by default of all that are here; returns 1 if any is wrong."""
    from longtake.platform.weights.check import verify as verify_one

    artefacts = select(names) or [artefact for artefact in ARTEFACTS.values() if state(artefact) != ABSENT]
    if not artefacts:
        say(f"{weights_root()}: contains no weights; longtake weights list shows what can be pulled")
    wrong = False

    def verify_and_say(artefact: Artefact) -> None:
        nonlocal wrong
        lines = verify_one(artefact, networks)
        wrong = wrong or bool(lines)
        for line in lines or ["ok"]:
            say(f"{artefact.name}: {line}")

    try_all(artefacts, verify_and_say, say)
    return 1 if wrong else 0


def networks(artefact: str) -> Iterator[nn.Module | Mapping[str, Shape]]:
    """The networks an artefact may fit: a metric's published forms, or the empty networks of backbones, each once."""
    if ARTEFACTS[artefact].kind == METRIC:
        from longtake.evaluators.models.published import forms

        yield from (shapes for form, shapes in forms().items() if form.partition("/")[0] == artefact)
        return
    from longtake.platform.backbones.base import backbones
    from longtake.platform.models.causal_dit import empty_dit

    users = [backbones.get(name) for name in backbones.names()]
    of_artefact = [user for user in users if artefact in user.artefacts().values()]
    yield from map(empty_dit, dict.fromkeys(user.spec.network for user in of_artefact))
