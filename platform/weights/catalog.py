"""The catalogue of published weights: artefacts with their origins and conversions, and groups of artefacts.

Contains data only (types: entries.py; VBench's metrics: vbench.py). A group lists what one backbone or suite needs, so
that a user pulls `longlive` instead of its parts. To add an artefact or a group, add one entry here.
"""

from longtake.platform.errors import ConfigError
from longtake.platform.registry import did_you_mean
from longtake.platform.weights import vbench
from longtake.platform.weights.entries import SOURCE, Artefact, Fetch, Origin, Pickle, pickle_origin

WAN = "Wan-AI/Wan2.1-T2V-1.3B"
WAN_DIFFUSERS = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
LONGLIVE = "Efficient-Large-Model/LongLive-1.3B"
LONGLIVE_RAG = "qixinhu11/LongLive-RAG"
UMT5, WAN_VAE = "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth"


def generator(name: str, repo: str, path: str, keys: tuple[str, ...], copy: str, folder: str = "") -> Artefact:
    """A generator of one pickle, as its authors publish it or as the `copy` among the files of LongLive-RAG."""
    return Artefact(name, "generator", published(repo, path, copy, "generator", keys), GENERATOR, folder=folder)


def published(repo: str, path: str, copy: str, kind: str, keys: tuple[str, ...]) -> tuple[Origin, ...]:
    places = ((repo, path), (LONGLIVE_RAG, f"checkpoints/{copy}"))
    return tuple(pickle_origin(kind, one, file, keys=keys) for one, file in places)


GENERATOR = ("generator.safetensors",)
AVERAGED, LATEST = ("generator_ema", "model"), ("generator", "model", "generator_ema")
"""Keys of a generator's weights. Self-Forcing samples with the averaged (EMA) weights, the other two do not."""

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
        Origin(
            WAN,
            (Fetch(WAN_VAE, SOURCE + WAN_VAE),),
            Pickle(SOURCE + WAN_VAE, ("model.safetensors", "config.json")),
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
        generator(
            "self-forcing-generator",
            "gdhe17/Self-Forcing",
            "checkpoints/self_forcing_dmd.pt",
            AVERAGED,
            "self_forcing.pt",
            folder="self-forcing",
        ),
        generator(
            "causal-forcing-generator",
            "zhuhz22/Causal-Forcing",
            "chunkwise/causal_forcing.pt",
            LATEST,
            "causal_forcing.pt",
            folder="causal-forcing",
        ),
        generator("longlive-base", LONGLIVE, "models/longlive_base.pt", LATEST, "longlive_base.pt"),
        Artefact(
            "longlive-lora",
            "lora",
            published(LONGLIVE, "models/lora.pt", "longlive_lora.pt", "lora", ("generator_lora",)),
            ("lora.safetensors",),
        ),
        VAE,
        TEXT,
        Artefact(
            "moviegen-prompts",
            "file",
            (
                Origin(LONGLIVE_RAG, (Fetch(f"checkpoints/{PROMPTS}", PROMPTS),)),
                Origin(LONGLIVE_RAG, (Fetch(PROMPTS, PROMPTS),)),
            ),
            (PROMPTS,),
        ),
        EMBEDDER,
        *vbench.ARTEFACTS,
    )
}

GROUPS = {
    "self-forcing": ("self-forcing-generator", "wan-vae", "wan-text"),
    "causal-forcing": ("causal-forcing-generator", "wan-vae", "wan-text"),
    "longlive": ("longlive-base", "longlive-lora", "wan-vae", "wan-text"),
    "vbench": tuple(artefact.name for artefact in vbench.ARTEFACTS),
}
"""A backbone or suite -> the artefacts that it needs. No artefact has the name of a group."""


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
