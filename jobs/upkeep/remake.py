"""`longtake remake TAKE`: makes one take of a sweep again, into a folder of its own, and compares the pixels.

The sweep and its output folder are only read. The new video, trace and record are a sweep of one take under `out`,
which other commands read. The take comes from the plan as it is: neither the suites of the sweep nor what its file
names today (prompts, registered models, other methods) are needed, and a sampler refuses weights other than the take's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from longtake.jobs.console import bar, say
from longtake.jobs.sweep import spec
from longtake.jobs.sweep.grid import Grid
from longtake.jobs.workers.sampling import MakeItem, SamplerWorker
from longtake.jobs.workers.text import encode_prompts, missing_prompts, prompts_by_source
from longtake.platform import plugins
from longtake.platform.errors import ConfigError, StorageError
from longtake.platform.prompts import Prompt
from longtake.platform.store.records import TakeResult
from longtake.platform.store.sweep import SweepStore, sweep_names
from longtake.platform.store.text_cache import TextCache
from longtake.platform.takes import Take
from longtake.platform.video.difference import difference
from longtake.platform.workers.ray_cluster import INLINE, connect


def remake(word: str, runs: Path, out: Path, console: Console) -> int:
    """Returns 0 if the pixels are equal or there is nothing to compare with, else 1. Raises LongtakeError."""
    store, take = find(word, runs)
    grid = grid_of(take, store)
    copy = SweepStore(out.absolute(), store.name)
    if copy.folder.resolve() == store.folder.resolve():
        raise ConfigError(f"--out: {out} is the output folder of the sweep itself; give another folder")
    with copy.lock():
        copy.sweep_leftovers()
        if copy.is_done(take):
            raise StorageError(f"{copy.video(take.id).parent}: is there already; remove it or give another --out")
        planned = copy.plan()
        copy.write_plan(store.config_yaml() or "", [*planned, *([] if take in planned else [take])])
        grid.plugins.keep(copy.folder)
        say(console, f"{take.cell}, seed {take.seed}: making {take.id} again, in {copy.video(take.id).parent}")
        try:
            made = make(take, grid, store, copy, console)
        finally:
            copy.sweep_leftovers()
    return compare(take, store, copy, made, console, grid.batch)


def grid_of(take: Take, store: SweepStore) -> Grid:
    """The settings of the sweep for this take alone, with the sweep's plug-ins loaded. Raises ConfigError."""
    loaded = plugins.load_kept(store.sweep_file)
    sweep = replace(spec.load(store.sweep_file), backbones=[take.backbone])
    grid = Grid(sweep, store.sweep_file, [Prompt(take.prompt, take.switches)], [take], [], [], loaded)
    grid.check_resources()
    return grid


def find(word: str, runs: Path) -> tuple[SweepStore, Take]:
    """The take with this id, or in this folder of a sweep. Raises ConfigError if there is none, or StorageError if it
    is in no plan that can be read and some cannot."""
    path = Path(word)
    if path.is_dir() and path.parent.name == SweepStore.inner:
        folder = path.absolute().parents[1]
        stores, take_id = [SweepStore(folder.parent, folder.name)], path.name
    else:
        stores, take_id = [SweepStore(runs, name) for name in sweep_names(runs)], word
    unreadable: list[StorageError] = []
    for store in stores:
        try:
            takes = store.plan()
        except StorageError as error:
            unreadable.append(error)
            continue
        for take in takes:
            if take.id == take_id:
                return store, take
    if unreadable:
        raise unreadable[0]
    where = ", ".join(store.name for store in stores) or "no sweep"
    raise ConfigError(
        f"{word}: no take of that id in {runs} ({where}); give 16 characters of 0-9 and a-f, as the dashboard "
        "and the folders of takes show them, and the output folder with --runs"
    )


def make(take: Take, grid: Grid, store: SweepStore, copy: SweepStore, console: Console) -> TakeResult:
    """Generate the take in this process. An embedding that the sweep's output folder lacks goes into the copy's."""
    has_text = not missing_prompts(TextCache(store.root.texts), prompts_by_source([take]))
    texts = store.root.texts if has_text else copy.root.texts
    resources = grid.resources(texts)
    with connect(INLINE) as cluster:
        encode_prompts([take], texts, cluster, lambda line: say(console, line), resources.device)
    with bar(console) as progress:
        task = progress.add_task("blocks", total=None, note="")

        def report(state: dict[str, Any]) -> None:
            if "total" in state:
                progress.update(task, completed=state["done"], total=state["total"])

        (result,) = SamplerWorker(copy, resources).run(MakeItem((take,)), report)
    return result


def compare(take: Take, store: SweepStore, copy: SweepStore, made: TakeResult, console: Console, batch: int) -> int:
    """Say whether the pixels are those of the sweep's video, and what else differs. `batch`: the most takes that the
    sweep generates together."""
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
    if not found.is_none and batch > 1 and str(made.versions.get("device", "cpu")) != "cpu":
        say(
            console,
            f"note: the sweep generates up to {batch} takes together (workers.batch), this one was generated alone; "
            "a GPU rounds the two differently, so the take may be intact",
        )
    return 0 if found.is_none else 1
