"""What can be fetched: published artefacts, where each comes from, what it becomes, and which names stand for several.

Data alone (its types: entries.py; the metrics of VBench: vbench.py). A group is what one backbone or suite needs, so
that a user asks for `longlive` and not for its parts. Adding an artefact or a group is one entry here.
"""

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.weights import vbench
from longtake.platform.weights.entries import SOURCE, Artefact, Fetch, Origin, Pickle, pickled

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
        pickled(
            "self-forcing",
            "generator",
            "gdhe17/Self-Forcing",
            "checkpoints/self_forcing_dmd.pt",
            ("generator_ema",),
        ),
        pickled(
            "causal-forcing",
            "generator",
            "zhuhz22/Causal-Forcing",
            "chunkwise/causal_forcing.pt",
            ("generator",),
        ),
        pickled("longlive-base", "generator", LONGLIVE, "models/longlive_base.pt", ("generator", "model")),
        pickled("longlive-lora", "lora", LONGLIVE, "models/lora.pt", ("generator_lora",)),
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
"""A backbone, or another user of weights, and all that it needs. A group goes before an artefact of the same name."""


def artefact(name: str) -> Artefact:
    """Raises ConfigError with the near miss and the known names."""
    if name not in ARTEFACTS:
        raise ConfigError(f"unknown artefact {name!r}; {did_you_mean(name, sorted(ARTEFACTS))}")
    return ARTEFACTS[name]


def chosen(names: list[str]) -> list[Artefact]:
    """The artefacts that names of artefacts and groups stand for, each once, in the order asked for."""
    known = sorted({*ARTEFACTS, *GROUPS})
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown weights {name!r}; {did_you_mean(name, known)}")
    return [ARTEFACTS[one] for one in dict.fromkeys(one for name in names for one in GROUPS.get(name, (name,)))]


def needed_by(name: str) -> list[str]:
    """The groups that need an artefact."""
    return [group for group, parts in GROUPS.items() if name in parts]
