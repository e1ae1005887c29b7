"""Data types of the catalogue: an artefact, the origins that publish it, and how fetched files are converted.

An artefact is one folder of files, which one loader opens.
"""

from dataclasses import dataclass
from typing import Literal

SOURCE = "source/"
"""Subfolder of an artefact for fetched files that must be converted before they are used."""
WEB = "https://"

Layout = Literal["pickle", "torchscript", "dreamsim"]
"""A pickled state dict; an archive of `torch.jit.save`; the zip of DreamSim's ensemble (metric.py)."""


@dataclass(frozen=True)
class Fetch:
    """A file of a repository, or every file that matches a pattern.

    `place`: its path in the artefact's folder, or a folder that ends in `/`. `sha256`: the expected hash, or its first
    digits; a file with another hash is refused. `bytes`: the expected size, shown before the download.
    """

    path: str
    place: str
    sha256: str = ""
    bytes: int = 0

    @property
    def is_pattern(self) -> bool:
        return "*" in self.path

    @property
    def is_specific(self) -> bool:
        """Whether the file's name alone identifies it. Names that every repository uses do not."""
        name = self.path.rpartition("/")[2]
        return not self.is_pattern and name not in ("config.json", "diffusion_pytorch_model.safetensors")


@dataclass(frozen=True)
class Pickle:
    """A fetched file that is converted to the files `outputs`, weights first.

    The weights are the state dict under the first of `keys` that it has. Without keys, or if it holds tensors alone,
    the file is the state dict.
    `member`: the state dict is this member of a zip, with hash `member_sha256`. `prefix`: only weights whose names
    start with it are kept, under their full names.
    """

    place: str
    outputs: tuple[str, ...]
    keys: tuple[str, ...] = ()
    layout: Layout = "pickle"
    member: str = ""
    member_sha256: str = ""
    prefix: str = ""

    @property
    def result(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True)
class Origin:
    """One published layout of an artefact. `repo`: owner/name of a repository on the hub, or https:// and a host."""

    repo: str
    files: tuple[Fetch, ...]
    pickle: Pickle | None = None

    @property
    def is_web(self) -> bool:
        return self.repo.startswith(WEB)

    @property
    def folder(self) -> str:
        """Its folder in a mirror: owner/name, or the host."""
        return self.repo.removeprefix(WEB)


@dataclass(frozen=True)
class Artefact:
    """Files that one loader opens.

    `kind`: generator, lora, vae, text, embedder, metric or file. `needs`: patterns; a usable folder has at least one
    file for each. Downloads use the first origin whose files its repository has; further origins count for a download
    only if they name the same repository. A local folder may hold any of them. `folder`: its folder under the weights,
    if that has another name.
    """

    name: str
    kind: str
    origins: tuple[Origin, ...]
    needs: tuple[str, ...]
    licence: str = "see its repository"
    folder: str = ""

    @property
    def expected_bytes(self) -> int:
        """Size of the download; 0 if it is not known."""
        return sum(fetch.bytes for fetch in self.origins[0].files)


def pickle_origin(
    kind: str,
    repo: str,
    path: str,
    sha256: str = "",
    bytes: int = 0,
    keys: tuple[str, ...] = (),
    layout: Layout = "pickle",
    member: str = "",
    member_sha256: str = "",
    prefix: str = "",
    more: tuple[str, ...] = (),
) -> Origin:
    """An origin of one file, which is converted to `<kind>.safetensors` and `more`."""
    place, outputs = SOURCE + path.rpartition("/")[2], (f"{kind}.safetensors", *more)
    pickle = Pickle(place, outputs, keys, layout, member, member_sha256, prefix)
    return Origin(repo, (Fetch(path, place, sha256, bytes),), pickle)
