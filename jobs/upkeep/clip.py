"""`longtake clip SWEEP_FOLDER`: an animated contact sheet; each panel moves around a return to one place."""

from __future__ import annotations

from pathlib import Path

from longtake.dashboards.contact_sheet import Row, choose, draw, printable, read_returns, returns_of
from longtake.jobs.sweep.selection import Selection
from longtake.platform.errors import ConfigError
from longtake.platform.store import durable
from longtake.platform.store.sweep import SweepStore
from longtake.platform.takes import FRAMES_PER_LATENT, Take
from longtake.platform.video.reading import probe

COLUMNS = 6
AROUND_SECONDS = 1.5
EVERY = 2  # frames of the video for one of the clip
QUALITY = 70


def clip(folder: Path, out: Path, selection: Selection) -> int:
    """Returns 0. Raises ConfigError if no finished take of the selection returns to a place."""
    store = SweepStore(folder.absolute().parent, folder.absolute().name)
    planned, done = store.plan(), store.done_ids()
    selection.check(planned)
    chosen = choose([take for take in selection.of(planned) if take.id in done])
    rows = [rows_of(take, store.video(take.id)) for take in chosen]
    if not rows or not all(rows):
        raise ConfigError(f"{folder}: no finished takes of the pocket world that return to a place; choose others")
    title = f"{store.name}: {printable(chosen[0].full_prompt)} (seed {chosen[0].seed})"
    sheets = [draw([*step], title, max(len(row.frames) for row in step)) for step in zip(*rows, strict=True)]
    durable.make_folder(out.absolute().parent)
    with durable.replacing(out) as temp:
        duration = 1000 * EVERY // round(probe(store.video(chosen[0].id)).fps)
        sheets[0].save(
            temp, "WEBP", save_all=True, append_images=sheets[1:], duration=duration, loop=0, quality=QUALITY, method=6
        )
    print(f"wrote {out}: {len(sheets)} frames, {out.stat().st_size / 1e3:.0f} kB")
    return 0


def rows_of(take: Take, path: Path) -> list[Row]:
    """The take's row in each frame of the clip; empty if its camera never returns. Raises VideoError."""
    header = probe(path)
    found = returns_of(take, header, COLUMNS, one_way=True)
    if found is None:
        return []
    course, latents = found
    reach = round(AROUND_SECONDS * header.fps)
    centres = [latent * FRAMES_PER_LATENT for latent in latents]
    steps = [
        [min(max(0, centre + offset), header.num_frames - 1) for centre in centres]
        for offset in range(-reach, reach, EVERY)
    ]
    images, lost = read_returns(path, course, latents, {index for step in steps for index in step})
    label = f"{take.backbone}\n{take.method.label}\n{take.seconds} s"
    times = [centre / header.fps for centre in centres]
    return [Row(label, "", take.seconds, [images[index] for index in step], times, lost) for step in steps]
