"""`longtake new KIND NAME`: writes a commented file that runs as it is, and prints the next command."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.names import check_name
from longtake.platform.registry import did_you_mean

TEMPLATES = Path(__file__).with_name("templates")
SWEEP = "sweep"
KINDS = ("method", "metric", "backbone", SWEEP)
REGISTERED = re.compile(r'^@(methods|metrics|backbones|suites)\.register\("([^"]+)"\)', re.MULTILINE)


def new(kind: str, name: str, folder: Path) -> int:
    """Returns 0. Raises ConfigError for a kind or name that cannot be, StorageError for a file that is there."""
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}; {did_you_mean(kind, list(KINDS))}")
    check_name("name", name)
    module = name.replace("-", "_")
    if kind != SWEEP and (not module.isidentifier() or keyword.iskeyword(module)):
        raise ConfigError(f"name: {name!r} is no name of a Python module; use letters, digits, - and _")
    path = folder / (f"{name}.yaml" if kind == SWEEP else f"{module}.py")
    text = sweep(name, folder) if kind == SWEEP else part(kind, name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise StorageError(f"{path}: is there already; choose another name or remove the file") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; give another folder with --dir") from error
    print(f"wrote {path}; next: longtake {'plan' if kind == SWEEP else 'certify'} {path}")
    return 0


def part(kind: str, name: str) -> str:
    """The template of a kind, under another name."""
    words = "".join(word.capitalize() for word in re.split(r"[-_.]", name))
    text = (TEMPLATES / f"{kind}.py").read_text(encoding="utf-8")
    return text.replace(f"my-{kind}", name).replace(f"My{kind.capitalize()}", words)


def sweep(name: str, folder: Path) -> str:
    """The template of a sweep, with the plug-ins that lie in the folder."""
    text = (TEMPLATES / f"{SWEEP}.yaml").read_text(encoding="utf-8").replace("my-sweep", name)
    for path in sorted(folder.glob("*.py")):
        parts = REGISTERED.findall(path.read_text(encoding="utf-8", errors="replace"))
        for key, value in [("plugins", path.stem), *parts] if parts else []:
            if key == "metrics":
                key, value = "suites", f"{{metrics: [{value}], as: {value}}}"
            text = re.sub(rf"^({key}: \[.*)\]", rf"\1, {value}]", text, flags=re.MULTILINE).replace("[, ", "[")
    return text
