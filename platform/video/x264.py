"""x264 made reproducible: one thread, and no AVX-512.

With AVX-512 code the same frames gave other bytes in 51 of 1,500 files, within one process (AMD EPYC, 32x32 px, 40
frames, x264 of PyAV 18.1). With AVX2 code all 1,500 were equal, and equal to the majority.
"""

from functools import cache


@cache
def reproducible_params() -> str:
    """The value of ffmpeg's option `x264-params`. Processors without AVX2 have no AVX-512 either and need no limit."""
    import torch

    avx2 = torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
    return "threads=1:asm=avx2" if avx2 else "threads=1"
