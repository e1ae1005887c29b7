"""The lines of a plan, and the comparison of two plans: a plan may grow, but no take may change or disappear.

Reads plan files and explains a difference in one line. Writes nothing. A parameter that names weights inside the output
folder is written relative to it, so that a copied plan does not lead to the files of the original.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.store.durable import storage_errors
from longtake.platform.takes import Take, number_json

OUTPUT = "<output>/"
"""What replaces the path of the output folder in a plan."""


def to_row(take: Take, output: Path) -> dict[str, Any]:
    """A take as a line of the plan of a store in this output folder."""
    row = take.to_json()
    if any(name.startswith("method.") for name, _ in take.fingerprint):
        row["method"] = {**row["method"], "params": portable_params(take, output)}
    return row


def to_lines(takes: list[Take], output: Path) -> bytes:
    """The content of a plan file: a line per take, the JSON of its row. Takes share methods and fingerprints, so each
    of those is encoded once."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    shared: dict[tuple[int, int], tuple[str, str]] = {}
    lines = []
    for take in takes:
        key = id(take.method), id(take.fingerprint)
        if key not in shared:
            row = to_row(take, output)
            shared[key] = encode(row["method"]), encode(row["fingerprint"])
        method, fingerprint = shared[key]
        lines.append(
            f'{{"backbone": {encode(take.backbone)}, "method": {method}, "seconds": {number_json(take.seconds)}, '
            f'"latent_frames": {number_json(take.latent_frames)}, "prompt": {encode(take.prompt)}, '
            f'"seed": {number_json(take.seed)}, "start_frames": {number_json(take.prefix_frames)}, '
            f'"fingerprint": {fingerprint}{switches_json(take, encode)}}}\n'
        )
    return "".join(lines).encode()


def switches_json(take: Take, encode: Callable[[Any], str]) -> str:
    """The end of a line, which takes without switches do not have."""
    return f', "switches": {encode(take.to_json()["switches"])}' if take.switches else ""


def from_row(row: dict[str, Any], output: Path) -> Take:
    """The take of a line, with paths in this output folder. Raises KeyError or TypeError, as `Take.from_json` does."""
    take = Take.from_json(row)
    given = {name: value for name, value in weights_of(take).items() if value.startswith(OUTPUT)}
    moved = {name: f"{output.absolute()}/{value.removeprefix(OUTPUT)}" for name, value in given.items()}
    return replace(take, method=replace(take.method, params={**take.method.params, **moved})) if moved else take


def portable_params(take: Take, output: Path) -> dict[str, Any]:
    """The parameters of a take's method; paths of weights in the output folder are relative to it."""
    folder = f"{output.absolute()}/"
    given = {name: value for name, value in weights_of(take).items() if value.startswith(folder)}
    return take.method.params | {name: f"{OUTPUT}{value.removeprefix(folder)}" for name, value in given.items()}


def weights_of(take: Take) -> dict[str, str]:
    """The parameters that name weights, which are in the fingerprint by their hash and not in the take's id."""
    hashed = {name for name, _ in take.fingerprint}
    params = take.method.params.items()
    return {name: value for name, value in params if f"method.{name}" in hashed and isinstance(value, str)}


def parse_plan(path: Path, output: Path) -> list[Take]:
    """The takes of a plan file in this output folder; empty if it is missing. Raises StorageError if a line is not a
    take."""
    with storage_errors(path, "read the plan"):
        try:
            lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (FileNotFoundError, NotADirectoryError):
            return []
        except UnicodeDecodeError as error:
            raise StorageError(f"{path}: is damaged (not UTF-8); remove the file to plan again") from error
    takes = []
    for number, line in enumerate(lines if lines != [""] else [], 1):
        try:
            takes.append(from_row(json.loads(line), output))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StorageError(f"{path}: line {number} is damaged; remove the file to plan again") from error
    return takes


def check_extension(folder: Path, before: list[Take], takes: list[Take]) -> None:
    """Raises ConfigError if `takes` has a take twice, or is missing a take of `before`."""
    by_id: dict[str, Take] = {}
    for take in takes:
        first = by_id.setdefault(take.id, take)
        if first is not take:
            raise ConfigError(f"{folder}: {_name(first)} and {_name(take)} are the same video; remove one of them")
    missing = [take for take in before if take.id not in by_id]
    if missing:
        twins = [take for take in takes if _place(take) == _place(missing[0])]
        twin = max(twins, key=lambda take: _likeness(missing[0], take), default=None)
        what = "is no longer planned" if twin is None else _differences(missing[0], twin)
        raise ConfigError(
            f"{folder}: {len(missing)} of {len(before)} takes of the earlier plan are missing or changed, "
            f"first {_name(missing[0])}: {what}; give the sweep another name, or undo the change (only add takes)"
        )


def _name(take: Take) -> str:
    return f"{take.cell} seed {take.seed} {take.full_prompt[:40]!r}"


def _facts(take: Take) -> dict[str, object]:
    facts = {**take.to_json(), "method": take.method.name}
    facts.pop("fingerprint")
    facts.update({f"{take.method.label}.{key}": value for key, value in take.method.params.items()})
    facts.update({f"fingerprint of {name}": digest[:12] for name, digest in take.fingerprint})
    return facts


def _place(take: Take) -> tuple[object, ...]:
    """The facts that stay the same if only details of a take change."""
    return take.backbone, take.method.name, take.full_prompt, take.seed


def _likeness(old: Take, new: Take) -> int:
    other = _facts(new)
    return sum(other.get(key) == value for key, value in _facts(old).items())


def _differences(old: Take, new: Take) -> str:
    mine, other = _facts(old), _facts(new)
    keys = [key for key in {**mine, **other} if mine.get(key) != other.get(key)]
    return ", ".join(f"{key} {str(mine.get(key))[:40]} -> {str(other.get(key))[:40]}" for key in keys[:4])
