"""The output of `longtake bench sampler`: tables of its figures and a CSV file of its readings."""

import statistics

from rich.table import Table

from longtake.jobs.bench.clocks import Turns
from longtake.jobs.bench.figures import AROUND, EARLY_SECONDS, Figures
from longtake.jobs.bench.whole_video import STAGES, WholeVideo
from longtake.platform.machine.resources import GIB
from longtake.platform.takes import FRAMES_PER_LATENT


def stage_table(figures: Figures, text_seconds: float) -> Table:
    """The speed of each stage when it runs alone."""
    steady = f"blocks {figures.steady[0]} to {figures.steady[-1]}"
    table = Table(
        "stage", "s per block (median)", "frames/s", title=f"Stages, each measured alone; denoise over {steady}"
    )
    table.add_row("text, one prompt", f"{text_seconds:.4g}", "-")
    frames = FRAMES_PER_LATENT * figures.spec.frames_per_block
    for method in figures.methods:
        seconds = figures.block_seconds(method)
        table.add_row(f"denoise, {method}", f"{seconds:.4g}", f"{figures.denoise_fps(method):.4g}")
    for name, clock in (("decode", figures.turns.decode), ("encode", figures.turns.encode)):
        seconds = statistics.median(clock)
        table.add_row(name, f"{seconds:.4g}", f"{frames / seconds:.4g}")
    return table


def method_table(figures: Figures) -> Table:
    """One column per method: share of the ceiling, cost relative to other methods, growth over the video, bank."""
    ceiling = figures.denoise_fps(figures.methods[0]) / figures.of_ceiling(figures.methods[0])
    rate = f"product rate {figures.rate / 1e12:.4g} TFLOP/s, ceiling {ceiling:.4g} fps"
    return table_of(f"Blocks; {rate}; ratios with their interquartile range", figures.methods, block_rows(figures))


def block_rows(figures: Figures) -> list[tuple[str, list[str]]]:
    """(label, one cell per method)."""
    methods = figures.methods
    bases = [method for method in ("native", "native-relative") if method in methods]
    flat = [figures.last_over_twentieth(method) for method in methods]
    early, late = figures.near(EARLY_SECONDS), figures.steady[-2 * AROUND - 1 :]
    times = [early] if early == late else [early, late]
    return [
        ("denoise fps", [f"{figures.denoise_fps(method):.4g}" for method in methods]),
        ("of the ceiling", [f"{figures.of_ceiling(method):.1%}" for method in methods]),
        *((f"time to {base}", [str(figures.against(method, base)) for method in methods]) for base in bases),
        *(block_time(figures, blocks) for blocks in times),
        ("last / 20th block", ["-" if ratio is None else f"{ratio:.3f}" for ratio in flat]),
        ("bank GiB", [gib(figures.bank_bytes(method)) for method in methods]),
    ]


def block_time(figures: Figures, blocks: list[int]) -> tuple[str, list[str]]:
    """The time of a block at this position in the video."""
    second = figures.middle(blocks[len(blocks) // 2])
    return f"s a block near {second:.0f} s", [f"{figures.seconds_at(method, blocks):.4g}" for method in figures.methods]


def video_table(videos: dict[str, WholeVideo]) -> Table:
    """One column per method: speed of whole videos, their bottleneck, and memory."""
    title = "Whole videos; seconds of work per stage (stages overlap)"
    return table_of(title, list(videos), video_rows(list(videos.values())))


def video_rows(videos: list[WholeVideo]) -> list[tuple[str, list[str]]]:
    """(label, one cell per video)."""
    stages = [(f"{stage} s", [f"{video.stage_seconds[stage]:.4g}" for video in videos]) for stage in STAGES]
    return [
        ("end to end fps", [f"{video.fps:.4g}" for video in videos]),
        ("wall s", [f"{video.wall_seconds:.4g}" for video in videos]),
        *stages,
        ("generation held back s", [f"{video.waiting_seconds:.4g}" for video in videos]),
        ("busiest stage", [video.busiest for video in videos]),
        ("first frame s", [f"{video.first_frame_seconds:.4g}" for video in videos]),
        ("peak GPU GiB", [gib(video.device_bytes) if video.device_bytes else "-" for video in videos]),
        ("peak RSS GiB", [gib(video.resident_bytes) for video in videos]),
    ]


def video_lines(videos: dict[str, WholeVideo]) -> list[str]:
    """The same as text, one line per video."""
    rows = {method: video_rows([video]) for method, video in videos.items()}
    return [
        f"whole video, {method}: " + ", ".join(f"{name} {cell}" for name, (cell,) in rows_of_video)
        for method, rows_of_video in rows.items()
    ]


def table_of(title: str, methods: list[str], rows: list[tuple[str, list[str]]]) -> Table:
    table = Table("", *methods, title=title)
    for name, cells in rows:
        table.add_row(name, *cells)
    return table


def gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.3g}"


def as_csv(turns: Turns) -> str:
    """One row per method and block."""
    lines = ["method,block,attended,wall_seconds,cpu_seconds,bank_bytes,product_flops_per_second"]
    for r in sorted(turns.readings, key=lambda reading: (reading.method, reading.block)):
        clocks = f"{r.wall_seconds:.6f},{r.cpu_seconds:.6f}"
        lines.append(f"{r.method},{r.block},{r.attended},{clocks},{r.bank_bytes},{turns.gemm[r.block]:.0f}")
    return "\n".join(lines) + "\n"
