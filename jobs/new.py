"""`longtake new KIND NAME`: writes a commented file that runs as it is, and prints the next command."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

from longtake.jobs.called import as_called
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.names import check_name
from longtake.platform.registry import Registry, did_you_mean

TEMPLATES = Path(__file__).with_name("templates")
SWEEP = "sweep"
KINDS = ("method", "metric", "backbone", SWEEP)
REGISTERED = re.compile(r'^@(methods|metrics|backbones|suites)\.register\("([^"]+)"\)', re.MULTILINE)


def new(kind: str, name: str, folder: Path) -> int:
    """Returns 0. Raises ConfigError for an unknown kind or an invalid name, StorageError if the file exists."""
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}; {did_you_mean(kind, list(KINDS))}")
    check_name("name", name)
    module = name.replace("-", "_")
    if kind != SWEEP and (not module.isidentifier() or keyword.iskeyword(module)):
        raise ConfigError(f"name: {name!r} is not a valid Python module name; use letters, digits, - and _")
    if kind != SWEEP and is_shipped(kind, name):
        raise ConfigError(f"name: {name!r} is a shipped {kind}; choose another name")
    path = folder / (f"{name}.yaml" if kind == SWEEP else f"{module}.py")
    text = sweep(name, folder) if kind == SWEEP else part(kind, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        if not folder.is_dir():
            raise StorageError(f"{folder}: is not a folder; choose another one with --dir") from error
        raise StorageError(f"{path}: already exists; choose another name or remove the file") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; choose another folder with --dir") from error
    print(as_called(f"wrote {path}; next: longtake {'plan' if kind == SWEEP else 'certify'} {path}"))
    return 0


def is_shipped(kind: str, name: str) -> bool:
    """Whether Longtake has a part of this name, present or former."""
    from longtake.evaluators.base import metrics
    from longtake.platform.backbones.base import backbones
    from longtake.platform.methods.base import methods

    registries: dict[str, Registry[Any]] = {"method": methods, "metric": metrics, "backbone": backbones}
    registry = registries[kind]
    return registry.names_of(name)[0] in registry.made_in("longtake")


def part(kind: str, name: str) -> str:
    """The template of a kind, under another name."""
    words = "".join(word.capitalize() for word in re.split(r"[-_.]", name))
    text = (TEMPLATES / f"{kind}.py").read_text(encoding="utf-8")
    return text.replace(f"my-{kind}", name).replace(f"My{kind.capitalize()}", words)


def sweep(name: str, folder: Path) -> str:
    """The template of a sweep, with the plug-ins in the folder."""
    text = (TEMPLATES / f"{SWEEP}.yaml").read_text(encoding="utf-8").replace("my-sweep", name)
    for path in sorted(folder.glob("*.py")):
        parts = REGISTERED.findall(path.read_text(encoding="utf-8", errors="replace"))
        for key, value in [("plugins", path.stem), *parts] if parts else []:
            if key == "metrics":
                key, value = "suites", f"{{metrics: [{value}], as: {value}}}"
            text = re.sub(rf"^({key}: \[.*)\]", rf"\1, {value}]", text, flags=re.MULTILINE).replace("[, ", "[")
    return text
