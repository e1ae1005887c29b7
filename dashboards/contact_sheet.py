"""A contact sheet: frames over time, one row per cell, as one PNG. Reads the store and its videos, changes neither.

Rows of equal length and times share a header, so that a column shows the same time in every cell. All rows are from one
prompt (the one with videos of the most cells), because rows are only comparable within a prompt. Videos of the pocket
world are shown when the camera is back at one place: its first view, then the returns, outlined where the place is not
recognised. Other videos are shown at even times.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.platform.errors import VideoError
from longtake.platform.pocket import returns
from longtake.platform.pocket.returns import SIZE_PX, Course, FirstViews, course_of, visits
from longtake.platform.store import durable
from longtake.platform.takes import FRAMES_PER_LATENT, Take
from longtake.platform.video.header import VideoHeader
from longtake.platform.video.reading import probe, read_frames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from longtake.platform.store.sweep import SweepStore

COLUMNS = 9
FRAME_HEIGHT_PX = 96
LABEL_PX, GAP_PX, HEADER_PX, TITLE_PX = 190, 4, 24, 34
INK, FAINT, PAPER, LOST = (20, 20, 24), (110, 110, 118), (255, 255, 255), (214, 40, 57)
DIGEST = "longtake-shown"
"""The text in the PNG that says what it shows, so that an unchanged sheet is not drawn again."""
RECOGNISED = 0.5
"""The share of a frame's columns that must look like the first view of their place, as in the metric revisit_hit."""
LEGEND = "One place: its first view, then returns of the camera. Red: fewer than half of its columns are recognised."


@dataclass(frozen=True)
class Row:
    """Frames of one cell; `frames` is empty if the video could not be read, and `note` has the reason."""

    label: str
    note: str
    seconds: int
    frames: list[Image.Image]
    times: list[float]
    lost: list[bool]  # at a return to a place: whether it is not recognised

    @property
    def is_returns(self) -> bool:
        return bool(self.lost)


def write(store: SweepStore, takes: list[Take], columns: int = COLUMNS, title: str | None = None) -> Path | None:
    """Write the contact sheet of the finished takes to the store, unless it is there already; `title` replaces the
    sweep's name. Returns None if there are no finished takes."""
    done = store.done_ids()
    chosen = choose([take for take in takes if take.id in done])
    if not chosen:
        return None
    heading = f"{title or store.name}: {printable(chosen[0].full_prompt)} (seed {chosen[0].seed})"
    shown = digest_of(store, chosen, heading, columns)
    if shown and shown == digest_in(store.contact_sheet_file):
        return store.contact_sheet_file
    rows = [read_row(take, store.video(take.id), columns) for take in chosen]
    all_read = not any(row.note for row in rows)
    return save(draw(rows, heading, columns), store.contact_sheet_file, shown if all_read else "")


def digest_of(store: SweepStore, takes: Sequence[Take], heading: str, columns: int) -> str:
    """A hash of all that the sheet shows: its heading, the takes and their videos, and the code that draws it. '' if a
    record cannot be read."""
    results = [store.result(take.id) for take in takes]
    videos = [result.video_sha256 for result in results if result is not None]
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in (__file__, returns.__file__)]
    inputs = [heading, columns, [str(take.cell) for take in takes], videos, code]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest() if len(videos) == len(takes) else ""


def digest_in(path: Path) -> str:
    """The hash that a sheet was saved with; '' without one, and if the file cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as sheet:
            return str(sheet.info.get(DIGEST, ""))
    except OSError:  # no file, or no picture
        return ""


def choose(takes: list[Take]) -> list[Take]:
    """One take per cell, for the prompt and seed with the most cells (the first in case of a tie)."""
    cells_of: dict[tuple[str, int], set[Any]] = {}
    for take in takes:
        cells_of.setdefault((take.full_prompt, take.seed), set()).add(take.cell)
    if not cells_of:
        return []
    best = max(cells_of, key=lambda key: len(cells_of[key]))
    by_cell = {take.cell: take for take in reversed(takes) if (take.full_prompt, take.seed) == best}
    order = list(dict.fromkeys(take.cell for take in takes if take.cell in by_cell))
    return [by_cell[cell] for cell in sorted(order, key=lambda cell: cell.seconds)]


def read_row(take: Take, path: Path, columns: int) -> Row:
    label = f"{take.backbone}\n{take.method.label}\n{take.seconds} s"
    try:
        header = probe(path)
        if found := returns_of(take, header, columns):
            course, latents = found
            indices = [latent * FRAMES_PER_LATENT for latent in latents]
            images, lost = read_returns(path, course, latents, indices)
            frames = [images[index] for index in indices if index in images]
        else:
            indices = [round(i * (header.num_frames - 1) / max(1, columns - 1)) for i in range(columns)]
            frames, lost = [scaled(frame) for _, frame in frames_at(read_frames(path), indices)], []
    except VideoError as error:
        return Row(label, printable(str(error)), take.seconds, [], [], [])
    return Row(label, "", take.seconds, frames, [index / header.fps for index in indices], lost)


def returns_of(take: Take, header: VideoHeader, count: int, one_way: bool = False) -> tuple[Course, list[int]] | None:
    """The camera and at most `count` latent frames that show one place, as `visits` chooses them. None if the camera
    never returns, or if the video has not the size of the pocket world: another backbone may have the same prompt."""
    course = course_of(take) if (header.width, header.height) == (SIZE_PX, SIZE_PX) else None
    latents = visits(course, count, one_way) if course is not None else []
    return (course, latents) if course is not None and len(latents) > 1 else None


def read_returns(
    path: Path, course: Course, latents: list[int], wanted: Iterable[int]
) -> tuple[dict[int, Image.Image], list[bool]]:
    """The wanted frames by their index, and for each visit whether fewer than half of its columns are recognised.
    Raises VideoError."""
    views, images, lost = FirstViews(course), dict[int, "Image.Image"](), []
    known, shown = {FRAMES_PER_LATENT * latent for latent in range(latents[-1] + 1)}, set(wanted)
    for index, frame in frames_at(read_frames(path), sorted(known | shown)):
        if index in known:
            latent = index // FRAMES_PER_LATENT
            views.add(latent, frame)
            if latent in latents:
                lost.append(views.recognised(latent, frame) < RECOGNISED)
        if index in shown:
            images[index] = scaled(frame)
    return images, lost


def frames_at(batches: Iterable[Any], indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yields (index, frame) for ascending `indices`; holds one batch at a time. A frame beyond the end is left out."""
    start, left = 0, deque(indices)
    for batch in batches:
        while left and left[0] < start + len(batch):
            yield left[0], batch[left.popleft() - start]
        if not left:
            return
        start += len(batch)


def scaled(frame_HWC: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(frame_HWC)
    width = max(1, round(image.width * FRAME_HEIGHT_PX / image.height))
    return image.resize((width, FRAME_HEIGHT_PX), Image.Resampling.LANCZOS)


def draw(rows: list[Row], title: str, columns: int) -> Image.Image:
    from PIL import Image, ImageDraw

    column_px = max((image.width for row in rows for image in row.frames), default=FRAME_HEIGHT_PX) + GAP_PX
    groups = grouped(rows)
    legend = LEGEND if any(row.is_returns for row in rows) else ""
    height = TITLE_PX + len(groups) * HEADER_PX + len(rows) * (FRAME_HEIGHT_PX + GAP_PX) + GAP_PX
    height += HEADER_PX if legend else 0
    sheet = Image.new("RGB", (LABEL_PX + columns * column_px + GAP_PX, height), PAPER)
    pen, y = ImageDraw.Draw(sheet), TITLE_PX
    pen.text((GAP_PX * 2, 8), fitted(title, sheet.width - 4 * GAP_PX, 15), INK, font(15))
    for group in groups:
        shown = next((row for row in group if row.times), group[0])
        for column, seconds in enumerate(shown.times):
            when = f"{seconds:.1f} s" if column or not shown.is_returns else f"first, {seconds:.1f} s"
            pen.text((LABEL_PX + column * column_px, y + 5), when, FAINT, font(12))
        y += HEADER_PX
        for row in group:
            draw_row(sheet, pen, row, y, column_px)
            y += FRAME_HEIGHT_PX + GAP_PX
    pen.text((GAP_PX * 2, y + 5), fitted(legend, sheet.width - 4 * GAP_PX, 12), FAINT, font(12))
    return sheet


def grouped(rows: list[Row]) -> list[list[Row]]:
    """The rows in groups of equal length and times, by length; each group has a header. A row without frames joins the
    first group of its length."""
    kinds = sorted(dict.fromkeys(kind_of(row) for row in rows if row.times), key=lambda kind: kind[0])
    groups: dict[tuple[int, bool, tuple[float, ...]], list[Row]] = {kind: [] for kind in kinds}
    for row in rows:
        first = next((kind for kind in kinds if kind[0] == row.seconds), kind_of(row))
        groups.setdefault(kind_of(row) if row.times else first, []).append(row)
    return sorted(groups.values(), key=lambda group: group[0].seconds)


def kind_of(row: Row) -> tuple[int, bool, tuple[float, ...]]:
    return row.seconds, row.is_returns, tuple(row.times)


def draw_row(sheet: Image.Image, pen: Any, row: Row, y: int, column_px: int) -> None:
    for line, text in enumerate(row.label.split("\n")):
        pen.text((GAP_PX * 2, y + 18 + 19 * line), fitted(text, LABEL_PX - 3 * GAP_PX, 14), INK, font(14))
    for column, image in enumerate(row.frames):
        x = LABEL_PX + column * column_px
        sheet.paste(image, (x, y))
        if row.is_returns and row.lost[column]:
            pen.rectangle((x, y, x + image.width - 1, y + image.height - 1), outline=LOST, width=3)
    if row.note:
        pen.text((LABEL_PX, y + 38), fitted(row.note, sheet.width - LABEL_PX, 12), INK, font(12))


def font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def fitted(text: str, width_px: int, size: int) -> str:
    """The text, shortened with an ellipsis to fit the width."""
    if font(size).getlength(text) <= width_px:
        return text
    while text and font(size).getlength(text + "...") > width_px:
        text = text[:-1]
    return text + "..."


def printable(text: str) -> str:
    """The text with spaces in place of unprintable characters, because prompts are untrusted data."""
    return "".join(char if char.isprintable() else " " for char in text)


def save(sheet: Image.Image, path: Path, digest: str) -> Path:
    """Write the sheet atomically, with the hash of what it shows. Raises StorageError."""
    from PIL.PngImagePlugin import PngInfo

    data, about = io.BytesIO(), PngInfo()
    about.add_text(DIGEST, digest)
    sheet.save(data, format="PNG", pnginfo=about)
    durable.replace_file(path, data.getvalue())
    return path
