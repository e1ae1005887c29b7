"""The catalogue of published weights: artefacts with their origins and conversions, and groups of artefacts.

Contains data only (types: entries.py; VBench's metrics: vbench.py). A group lists what one backbone or suite needs, so
that a user pulls `longlive` instead of its parts. To add an artefact or a group, add one entry here.
"""

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.weights import vbench
from longtake.platform.weights.entries import SOURCE, Artefact, Fetch, Origin, Pickle, pickle_artefact

WAN = "Wan-AI/Wan2.1-T2V-1.3B"
WAN_DIFFUSERS = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
LONGLIVE = "Efficient-Large-Model/LongLive-1.3B"
LONGLIVE_RAG = "qixinhu11/LongLive-RAG"
UMT5 = "models_t5_umt5-xxl-enc-bf16.pth"

VAE = Artefact(
    "wan-vae",
    "vae",
    (
        Origin(
            WAN_DIFFUSERS,
            (
                Fetch("vae/config.json", "config.json"),
                Fetch("vae/diffusion_pytorch_model.safetensors", "model.safetensors"),
            ),
        ),
    ),
    ("config.json", "model.safetensors"),
    "Apache-2.0",
)
TEXT = Artefact(
    "wan-text",
    "text",
    (
        Origin(
            WAN,
            (Fetch(UMT5, SOURCE + UMT5), Fetch("google/umt5-xxl/*", "tokenizer/")),
            Pickle(SOURCE + UMT5, ("model.safetensors", "config.json")),
        ),
        Origin(WAN_DIFFUSERS, (Fetch("text_encoder/*", ""), Fetch("tokenizer/*", "tokenizer/"))),
    ),
    ("config.json", "*.safetensors", "tokenizer/tokenizer.json"),
    "Apache-2.0",
)
EMBEDDER_FILES = ("embedder.safetensors", "embedder.json")
EMBEDDER = Artefact(
    "longlive-rag-embedder",
    "embedder",
    (
        Origin(
            LONGLIVE_RAG,
            (Fetch("checkpoints/ae_latent_mem.pt", SOURCE + "ae_latent_mem.pt"),),
            Pickle(SOURCE + "ae_latent_mem.pt", EMBEDDER_FILES, ("model",)),
        ),
    ),
    EMBEDDER_FILES,
)
PROMPTS = "moviegenbench_128_refined.txt"

ARTEFACTS = {
    artefact.name: artefact
    for artefact in (
        pickle_artefact(
            "self-forcing",
            "generator",
            "gdhe17/Self-Forcing",
            "checkpoints/self_forcing_dmd.pt",
            ("generator_ema",),
        ),
        pickle_artefact(
            "causal-forcing",
            "generator",
            "zhuhz22/Causal-Forcing",
            "chunkwise/causal_forcing.pt",
            ("generator",),
        ),
        pickle_artefact("longlive-base", "generator", LONGLIVE, "models/longlive_base.pt", ("generator", "model")),
        pickle_artefact("longlive-lora", "lora", LONGLIVE, "models/lora.pt", ("generator_lora",)),
        VAE,
        TEXT,
        Artefact("moviegen-prompts", "file", (Origin(LONGLIVE_RAG, (Fetch(PROMPTS, PROMPTS),)),), (PROMPTS,)),
        EMBEDDER,
        *vbench.ARTEFACTS,
    )
}

GROUPS = {
    "self-forcing": ("self-forcing", "wan-vae", "wan-text"),
    "causal-forcing": ("causal-forcing", "wan-vae", "wan-text"),
    "longlive": ("longlive-base", "longlive-lora", "wan-vae", "wan-text"),
    "vbench": tuple(artefact.name for artefact in vbench.ARTEFACTS),
}
"""A backbone or suite -> the artefacts that it needs. A group takes precedence over an artefact of the same name."""


def artefact(name: str) -> Artefact:
    """The artefact of this name. Raises ConfigError with the closest and all known names."""
    if name not in ARTEFACTS:
        raise ConfigError(f"unknown artefact {name!r}; {did_you_mean(name, sorted(ARTEFACTS))}")
    return ARTEFACTS[name]


def select(names: list[str]) -> list[Artefact]:
    """The artefacts of these artefact and group names, each once, in the given order. Raises ConfigError."""
    known = sorted({*ARTEFACTS, *GROUPS})
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown weights {name!r}; {did_you_mean(name, known)}")
    return [ARTEFACTS[part] for part in dict.fromkeys(part for name in names for part in GROUPS.get(name, (name,)))]


def groups_with(name: str) -> list[str]:
    """The groups that contain an artefact."""
    return [group for group, parts in GROUPS.items() if name in parts]
