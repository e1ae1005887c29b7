"""Compares two plans of one sweep: a plan may grow, but no take may change or disappear.

Reads plan files and explains a difference in one line. Writes nothing.
"""

import json
from pathlib import Path

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.store.durable import storage_errors
from longtake.platform.takes import Take


def parse_plan(path: Path) -> list[Take]:
    """The takes of a plan file; empty if it is missing. Raises StorageError if a line is not a take."""
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
            takes.append(Take.from_json(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
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
    return f"{take.cell} seed {take.seed} {take.prompt[:40]!r}"


def _facts(take: Take) -> dict[str, object]:
    facts = {**take.to_json(), "method": take.method.name}
    facts.pop("fingerprint")
    facts.update({f"{take.method.label}.{key}": value for key, value in take.method.params.items()})
    facts.update({f"fingerprint of {name}": digest[:12] for name, digest in take.fingerprint})
    return facts


def _place(take: Take) -> tuple[object, ...]:
    """The facts that stay the same if only details of a take change."""
    return take.backbone, take.method.name, take.prompt, take.seed


def _likeness(old: Take, new: Take) -> int:
    other = _facts(new)
    return sum(other.get(key) == value for key, value in _facts(old).items())


def _differences(old: Take, new: Take) -> str:
    mine, other = _facts(old), _facts(new)
    keys = [key for key in {**mine, **other} if mine.get(key) != other.get(key)]
    return ", ".join(f"{key} {str(mine.get(key))[:40]} -> {str(other.get(key))[:40]}" for key in keys[:4])
