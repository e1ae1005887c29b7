"""What an entry of the catalogue says: an artefact, the places that publish it, and what becomes of what is fetched.

Data types alone. An artefact is what one loader opens: one folder of files.
"""

from dataclasses import dataclass
from typing import Literal

SOURCE = "source/"
"""Where, in an artefact's folder, files lie that must be converted and are not used themselves."""
WEB = "https://"

Layout = Literal["pickle", "torchscript", "dreamsim"]
"""A pickled table; an archive of `torch.jit.save`; the zip of DreamSim's ensemble (metric.py)."""


@dataclass(frozen=True)
class Fetch:
    """A file of a repository, or every file that fits a pattern, and its place: a name, or a folder with its `/`.

    `sha256`: what is known beforehand of its hash, all digits or the first ones; a file of another is refused. `bytes`:
    what it is expected to have, to be shown before it is there.
    """

    path: str
    place: str
    sha256: str = ""
    bytes: int = 0

    @property
    def is_pattern(self) -> bool:
        return "*" in self.path

    @property
    def is_telling(self) -> bool:
        """Whether the file's name alone says what it is; names that every repository uses do not."""
        name = self.path.rpartition("/")[2]
        return not self.is_pattern and name not in ("config.json", "diffusion_pytorch_model.safetensors")


@dataclass(frozen=True)
class Pickle:
    """A fetched file that becomes `makes`, weights first: the table under the first of `keys` that it has.

    No keys: the pickle itself is the table. `member`: the table is this file of a zip, with `member_sha256`. `prefix`:
    only weights whose names begin with it are kept, under their whole names.
    """

    place: str
    makes: tuple[str, ...]
    keys: tuple[str, ...] = ()
    layout: Layout = "pickle"
    member: str = ""
    member_sha256: str = ""
    prefix: str = ""

    @property
    def result(self) -> str:
        return self.makes[0]


@dataclass(frozen=True)
class Origin:
    """One published layout of an artefact. `repo` is owner/name of a hub's repository, or https:// and a host."""

    repo: str
    files: tuple[Fetch, ...]
    pickle: Pickle | None = None

    @property
    def is_web(self) -> bool:
        return self.repo.startswith(WEB)

    @property
    def folder(self) -> str:
        """Where a mirror keeps it: owner/name, or the host."""
        return self.repo.removeprefix(WEB)


@dataclass(frozen=True)
class Artefact:
    """Files that one loader opens.

    `kind` says what they are: generator, lora, vae, text, embedder, metric or file. `needs`: patterns, each of which
    fits at least one file of a usable folder. The first origin is the one that is fetched; any of them is taken from a
    local folder.
    """

    name: str
    kind: str
    origins: tuple[Origin, ...]
    needs: tuple[str, ...]
    licence: str = "see its repository"

    @property
    def expected_bytes(self) -> int:
        """Of what is fetched; 0 where that is not known beforehand."""
        return sum(one.bytes for one in self.origins[0].files)


def pickled(
    name: str, kind: str, repo: str, path: str, keys: tuple[str, ...], licence: str = Artefact.licence
) -> Artefact:
    """An artefact that is one published pickle and becomes `<kind>.safetensors`."""
    return Artefact(name, kind, (one_pickle(kind, repo, path, keys=keys),), (f"{kind}.safetensors",), licence)


def one_pickle(
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
    """An origin of one file that becomes `<kind>.safetensors` and `more`."""
    place, makes = SOURCE + path.rpartition("/")[2], (f"{kind}.safetensors", *more)
    pickle = Pickle(place, makes, keys, layout, member, member_sha256, prefix)
    return Origin(repo, (Fetch(path, place, sha256, bytes),), pickle)
