"""`longtake bench sampler`: speed and memory of a backbone per context method, from the prompt to the video file.

Weights are random; nothing is downloaded. The bench measures text encoding and whole videos first, each in a separate
process, then the blocks of all methods in turns. It prints the whole videos once they are done and the other tables at
the end, with a title that states exactly what ran.
"""

from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from longtake.jobs.bench.apart import check_memory, check_out, in_new_process
from longtake.jobs.bench.clocks import latent_frames, take_turns
from longtake.jobs.bench.figures import Figures
from longtake.jobs.bench.options import BenchOptions
from longtake.jobs.bench.stand_in import stand_in, text_seconds, weight_bytes
from longtake.jobs.bench.tables import as_csv, method_table, stage_table, video_lines, video_table
from longtake.jobs.bench.whole_video import WholeVideo, whole_video
from longtake.platform import kernels
from longtake.platform.backbones.base import BackboneSpec
from longtake.platform.errors import ConfigError
from longtake.platform.generation.sampler import method_config
from longtake.platform.machine.dtypes import torch_dtype
from longtake.platform.methods.base import Window
from longtake.platform.models import attention


def sampler(options: BenchOptions, end_to_end: bool = True, out: Path | None = None) -> int:
    """Measures and prints; returns 0. Raises ConfigError for options that do not fit, before it measures anything."""
    window = check(options)
    check_out(out)
    options = replace(options, host_gib=options.resources.bank.on_this_machine(samplers=1).host_gib)
    console = Console()
    check_machine(options, console)
    console.print(options.as_command, markup=False)
    with console.status("text") as status:
        text = in_new_process(text_seconds, options)
        videos: dict[str, WholeVideo] = {}
        for method in options.methods if end_to_end else ():
            status.update(f"a whole video, {method}")
            videos[method] = in_new_process(whole_video, options, method)
        if videos:
            console.print(video_table(videos))
        turns = take_turns(options, lambda done, total: status.update(f"timing block {done}/{total}"))
    spec, device = stand_in(options).spec, options.resources.compute_device()
    figures = Figures(spec, turns, window.size, options.batch, wall=device.type == "cuda")
    heading = title(options, spec, window)  # after the runs, since it names the attention kernel
    console.print(heading, stage_table(figures, text), method_table(figures), sep="\n", markup=False)
    if out is not None:
        about = [options.as_command, *heading.splitlines(), *video_lines(videos)]
        out.write_text("".join(f"# {line}\n" for line in about) + as_csv(turns))
    return 0


def check_machine(options: BenchOptions, console: Console) -> None:
    """Raises ConfigError if memory is too small; prints a warning if blocks are slow on a core of 50 GFLOP/s."""
    spec = stand_in(options).spec
    if options.resources.compute_device().type != "cpu":
        return
    check_memory(weight_bytes(spec), f"the weights of {options.backbone}, or of its text encoder,")
    seconds = spec.block_flops(spec.window) / 50e9
    if seconds > 30:
        console.print(f"a block takes about {seconds / 60:.0f} min on a CPU core; reduce the sizes with --shrink N")


def check(options: BenchOptions) -> Window:
    """The window of the methods. Raises ConfigError for an unknown or repeated method, or an invalid window."""
    spec = stand_in(options).spec
    windows = []
    for method in options.methods:
        chosen = method_config(options.take(method, spec.frames_per_block))
        windows.append(chosen.window_in(spec.window))
        chosen.check(windows[-1], spec.latent)
    if len(set(options.methods)) < len(options.methods):
        raise ConfigError(f"methods: {', '.join(options.methods)}: a method is given twice; give each once")
    return windows[0]


def title(options: BenchOptions, spec: BackboneSpec, window: Window) -> str:
    """States exactly what ran, and on which device."""
    net, device = spec.network, options.resources.compute_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread, clocks in CPU time"
    scale = "at its own sizes" if options.shrink == 1 else f"SHRUNK by {options.shrink}, not its own sizes"
    frames = latent_frames(options)
    return "\n".join(
        [
            f"{options.backbone} {scale}, random weights; {name}; torch {torch.__version__}, "
            f"{computing(options, spec, device)}",
            f"dim {net.dim}, ffn {net.ffn_dim}, {net.heads} heads, {net.layers} layers, latents "
            f"{net.channels}x{net.latent_height}x{net.latent_width} ({net.frame_tokens} tokens a frame), "
            f"text {net.text_len}x{net.text_dim}, {spec.width}x{spec.height} px; {len(spec.schedule.steps)} passes "
            f"and a commit",
            f"window {window.size}, sink {window.sink}, blocks of {window.block}; {frames} latent frames "
            f"({frames / spec.latent_fps:g} s); batch {options.batch}",
            f"bank {options.bank_dtype or 'as computed'}, {options.bank_frames or 'all'} frames; {bank_text(options)}",
            "natural-looking frames are encoded instead of the decoded noise, which would encode more slowly",
        ]
    )


def computing(options: BenchOptions, spec: BackboneSpec, device: torch.device) -> str:
    """The number formats and kernels of the network."""
    kind = f"{spec.dtype}, linear layers in fp8" if options.precision == "fp8" else spec.dtype
    between = "Triton kernels, " if kernels.used_on(device) else ""
    runs = attention.backend(device, torch_dtype(spec.dtype), spec.network.head_dim)
    return f"{kind}, attention {runs}, {between}{'compiled' if options.compile else 'not compiled'}"


def bank_text(options: BenchOptions) -> str:
    """The capacity of the bank, as written in a sweep's `workers.bank`."""
    capacity = options.resources.bank
    host = "null" if capacity.host_gib is None else f"{capacity.host_gib:g}"
    return f"workers.bank: gpu_gib {capacity.gpu_gib:g}, host_gib {host}, disk {capacity.disk or 'null'}"
