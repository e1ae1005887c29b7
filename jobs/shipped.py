"""The YAML files that ship with Longtake: sweeps, corpora and trainings, which commands find by name.

Knows where the files are and what they are called; reads none of them.
"""

from __future__ import annotations

from pathlib import Path

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean

SWEEPS = Path(__file__).with_name("sweeps")
CORPORA = Path(__file__).with_name("corpora")
TRAININGS = Path(__file__).with_name("training")


def names(folder: Path) -> list[str]:
    """The names of the shipped files of one kind, sorted: 'demo' for sweeps/demo.yaml."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find(folder: Path, file: Path) -> Path:
    """`file` if it exists; else the shipped file of `folder` that it names: demo, demo.yaml or jobs/sweeps/demo.yaml.

    Raises ConfigError for a path that is neither, with the shipped names.
    """
    if is_readable(file):
        return file
    for name in names(folder):
        whole = ("jobs", folder.name, f"{name}.yaml")
        if file.parts in [(name,), *(whole[start:] for start in range(len(whole)))]:
            return folder / whole[-1]
    if file.is_dir():
        return file  # reading it explains the error
    beside = file.with_name(f"{file.name}.yaml")
    if beside.is_file():
        raise ConfigError(f"{file}: no such file; give {beside}, which exists")
    raise ConfigError(f"{file}: no such file here and none that ships; {did_you_mean(file.stem, names(folder))}")


def is_readable(file: Path) -> bool:
    """Whether there is such a file. True if that cannot be known: reading it explains the error."""
    try:
        return file.exists() and not file.is_dir()
    except OSError:
        return True
