"""`longtake remake TAKE`: makes one take of a sweep again, into a folder of its own, and compares the pixels.

The sweep is only read. The new video, trace and record are a sweep of one take under `out`, which other commands read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from longtake.jobs.console import bar, say
from longtake.jobs.sweep.grid import Grid, expand
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.jobs.workers.text import encode_prompts
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.store.plans import check_extension
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore, sweep_names
from longtake.platform.takes import Take
from longtake.platform.video.difference import difference
from longtake.platform.workers.ray_cluster import INLINE, connect


def remake(word: str, runs: Path, out: Path, console: Console) -> int:
    """Returns 0 if the pixels are equal or there is nothing to compare with, else 1. Raises LongtakeError."""
    store, take = find(word, runs)
    grid = expand(store.sweep_file)
    check_extension(store.folder, [take], grid.planned)
    copy = SweepStore(out.absolute(), store.name)
    if copy.folder.resolve() == store.folder.resolve():
        raise ConfigError(f"--out: {out} is the output folder of the sweep itself; give another folder")
    with copy.lock():
        copy.sweep_leftovers()
        if copy.is_done(take):
            raise StorageError(f"{copy.video(take.id).parent}: is there already; remove it or give another --out")
        copy.write_plan(grid.config_yaml, [*copy.plan(), *([] if take in copy.plan() else [take])])
        grid.plugins.keep(copy.folder)
        say(console, f"{take.cell}, seed {take.seed}: making {take.id} again, in {copy.video(take.id).parent}")
        made = make(take, grid, store, copy, console)
    return compare(take, store, copy, made, console)


def find(word: str, runs: Path) -> tuple[SweepStore, Take]:
    """The take with this id, or in this folder of a sweep. Raises ConfigError if there is none."""
    path = Path(word)
    if path.is_dir() and path.parent.name == SweepStore.inner:
        folder = path.absolute().parents[1]
        stores, take_id = [SweepStore(folder.parent, folder.name)], path.name
    else:
        stores, take_id = [SweepStore(runs, name) for name in sweep_names(runs)], word
    for store in stores:
        for take in store.plan():
            if take.id == take_id:
                return store, take
    where = ", ".join(store.name for store in stores) or "no sweep"
    raise ConfigError(
        f"{word}: no take of that id in {runs} ({where}); give 16 characters of 0-9 and a-f, as the dashboard "
        "and the folders of takes show them, and the output folder with --runs"
    )


def make(take: Take, grid: Grid, store: SweepStore, copy: SweepStore, console: Console) -> TakeResult:
    """Generate the take in this process."""
    resources = grid.resources(store.root.texts)
    with connect(INLINE) as cluster:
        encode_prompts([take], store.root.texts, cluster, lambda line: say(console, line), resources.device)
    with bar(console) as progress:
        task = progress.add_task("blocks", total=None, note="")

        def report(state: dict[str, Any]) -> None:
            if "total" in state:
                progress.update(task, completed=state["done"], total=state["total"])

        (result,) = SamplerWorker(copy, resources).run(MakeItem((take,)), report)
    return result


def compare(take: Take, store: SweepStore, copy: SweepStore, made: TakeResult, console: Console) -> int:
    """Say whether the pixels are those of the sweep's video, and what else differs."""
    before = store.result(take.id)
    if before is None or not store.is_done(take):
        say(console, f"made {copy.video(take.id)}; {store.name} has no video of this take to compare with")
        return 0
    if not store.verify(take):
        video = store.video(take.id)
        raise StorageError(f"{video}: is not the recorded video; remove {video.parent} and run the sweep again")
    if made.video_sha256 == before.video_sha256:
        say(console, f"equal: the file has the same bytes (sha256 {made.video_sha256[:16]}), {made.num_frames} frames")
        return 0
    found = difference(store.video(take.id), copy.video(take.id))
    if found.is_none:
        say(console, f"equal: all {found.total} decoded frames; the bytes of the files differ")
    else:
        say(
            console,
            f"different: {found.frames} of {found.total} decoded frames, by up to {found.largest} of 255; "
            f"{found.psnr:.1f} dB",
        )
    names = sorted(before.versions.keys() | made.versions.keys())
    changes = [(name, before.versions.get(name, "-"), made.versions.get(name, "-")) for name in names]
    for name, was, now in changes:
        if was != now:
            say(console, f"{name}: was {was}, is {now}")
    return 0 if found.is_none else 1
