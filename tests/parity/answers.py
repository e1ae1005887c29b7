"""What the official networks answer with seeded weights, for tests/evaluators/models to hold ours to.

    python tests/parity/answers.py     writes ../golden/vbench/networks.json

Runs in the official environment. The frames (`picture`, `centred`, `sample`) need torch alone and serve both sides.
"""

import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def picture(n: int, height: int, width: int) -> Tensor:
    """Seeded frames [n, 3, height, width] of whole numbers 0..255: blocks of 8, and finer grain."""
    generator = torch.Generator().manual_seed(height * width)
    coarse = torch.randint(0, 200, (n, 3, -(-height // 8), -(-width // 8)), generator=generator)
    fine = torch.randint(0, 56, (n, 3, height, width), generator=generator)
    blocks = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :height, :width]
    return (blocks + fine).float()


def centred(n: int, height: int, width: int) -> Tensor:
    """Frames about as large as normed ones are."""
    return picture(n, height, width) / 64 - 2


def answers() -> dict[str, Tensor]:
    """Case -> what the official network answers. tests/evaluators/models/test_networks.py asks ours the same."""
    from clip_to_clip import official_dinov2, official_dreamsim
    from networks import built

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        return {
            "dino": built("dino-vitb16")(centred(2, 224, 400)),
            "dino, nearly square": built("dino-vitb16")(centred(1, 224, 239)),
            "dinov2": official_dinov2()(centred(2, 224, 224)),
            "clip-b": built("clip-vit-b-32")(centred(2, 224, 224)),
            "clip-l": built("clip-vit-l-14")(centred(1, 224, 224)),
            "aesthetic": built("aesthetic-linear")(torch.nn.functional.normalize(centred(1, 2, 768)[0, 0])),
            "musiq": built("musiq-spaq")(picture(1, 120, 200) / 255),
            "amt": middle(built("amt-s"), picture(2, 128, 160) / 255),
            "raft": built("raft-things")(*picture(2, 136, 200).chunk(2), iters=20, test_mode=True)[1],
            "dreamsim": official_dreamsim(Path(folder)).embed(picture(2, 224, 224) / 255),
        }


def middle(amt: nn.Module, frames: Tensor) -> Tensor:
    half = torch.full((1, 1, 1, 1), 0.5)
    return amt(*frames.chunk(2), half, scale_factor=1.0, eval=True)["imgt_pred"]


def write_golden() -> None:
    from networks import GOLDEN, PACKAGES

    torch.set_num_threads(1)
    golden: dict[str, Any] = {
        "provenance": {
            "made_by": "python tests/parity/answers.py",
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "weights": "tests/parity/seeded.py: published(artefact, shapes.json)",
            "frames": "tests/parity/answers.py: picture, centred",
            "values": "16 numbers, evenly spaced over the flat answer from its first on",
        }
    }
    for name, answer in answers().items():
        golden[name] = {"shape": list(answer.shape), "norm": float(answer.double().norm()), "values": sample(answer)}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


def sample(answer: Tensor) -> list[float]:
    flat = answer.double().flatten()
    return flat[:: max(1, len(flat) // 16)][:16].tolist()


if __name__ == "__main__":
    from networks import declare_torchvision

    library = declare_torchvision()
    write_golden()
