"""The weights of VBench's quality dimensions, from the addresses that VBench 0.1.5 uses.

Hashes come from the publishers' addresses, file names and repositories; for DINO, DINOv2 and RAFT, from repositories
that publish the same files. The LAION head and DreamSim's zip have no published hash; that of the download is recorded.
"""

from longtake.platform.weights.entries import Artefact, Origin, pickle_origin

METRIC = "metric"
RESULT = f"{METRIC}.safetensors"
RAFT_THINGS = "fcfa4125d6418f4de95d84aec20a3c5f4e205101715a79f193243c186ac9a7e1"
CLIP_B = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
CLIP_L = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
META, OPENAI, GITHUB = "https://dl.fbaipublicfiles.com", "https://openaipublic.azureedge.net", "https://github.com"
ADAPTER_CONFIG = "adapter_config.json"


def metric(name: str, licence: str, *origins: Origin, more: tuple[str, ...] = ()) -> Artefact:
    return Artefact(name, METRIC, origins, (RESULT, *more), licence)


def clip(name: str, file: str, sha256: str, bytes: int) -> Artefact:
    """OpenAI's archive, whose address contains its hash. Only the image tower is kept."""
    path = f"clip/models/{sha256}/{file}"
    origin = pickle_origin(METRIC, OPENAI, path, sha256, bytes, layout="torchscript", prefix="visual.")
    return metric(name, "MIT", origin)


ARTEFACTS = (
    metric(
        "dino-vitb16",
        "Apache-2.0",
        pickle_origin(
            METRIC,
            META,
            "dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
            "bf34ad0f424b9029b593e8dc3ed553bf26e88bcba0d32bf3e62a6209cb64c85e",
            343_242_485,
        ),
    ),
    metric(
        "dinov2-vitb14",
        "Apache-2.0",
        pickle_origin(
            METRIC,
            META,
            "dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
            "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
            346_378_731,
        ),
    ),
    clip("clip-vit-b-32", "ViT-B-32.pt", CLIP_B, 353_976_522),
    clip("clip-vit-l-14", "ViT-L-14.pt", CLIP_L, 932_768_134),
    metric(
        "aesthetic-linear",
        "MIT",
        pickle_origin(
            METRIC,
            "https://raw.githubusercontent.com",
            "LAION-AI/aesthetic-predictor/main/sa_0_4_vit_l_14_linear.pth",
            bytes=5_000,
        ),
    ),
    metric(
        "musiq-spaq",
        "CC BY-NC-SA 4.0",
        pickle_origin(
            METRIC,
            "chaofengc/IQA-PyTorch-Weights",
            "musiq_spaq_ckpt-358bb6af.pth",
            "358bb6af275e28ea56821d44fb55c6cb83645db11f394d3ad65b2d149965ab50",
            109_000_000,
        ),
    ),
    metric(
        "amt-s",
        "CC BY-NC 4.0",
        pickle_origin(
            METRIC,
            "lalala125/AMT",
            "amt-s.pth",
            "07e7e03405c213fe4405678db9b42d05671e48c56faf6a441b99bb0047d3cf77",
            12_038_359,
            keys=("state_dict",),
        ),
    ),
    metric(
        "raft-things",
        "BSD-3-Clause",
        pickle_origin(
            METRIC,
            "https://dl.dropboxusercontent.com",
            "s/4j4z58wuv8o0mfz/models.zip",
            bytes=82_000_000,
            member="models/raft-things.pth",
            member_sha256=RAFT_THINGS,
        ),
        pickle_origin(METRIC, "princeton-vl/RAFT", "models/raft-things.pth", RAFT_THINGS, 21_108_000),
        pickle_origin(METRIC, "https://download.pytorch.org", "models/raft_large_C_T_V1-22a6c225.pth", "22a6c225"),
    ),
    metric(
        "dreamsim-ensemble",
        "MIT",
        pickle_origin(
            METRIC,
            GITHUB,
            "ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints/dreamsim_ensemble_checkpoint.zip",
            bytes=1_261_181_618,
            layout="dreamsim",
            more=(ADAPTER_CONFIG,),
        ),
        more=(ADAPTER_CONFIG,),
    ),
)
