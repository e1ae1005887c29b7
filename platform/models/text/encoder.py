"""The text encoder of Wan: converts a prompt to the rows that the network cross-attends.

Owns the cleaning of prompts (as in Wan's training) and the loading of a UMT5; the only importer of transformers. A
folder contains config.json, *.safetensors in transformers' names (one, or several with their index) and
tokenizer/tokenizer.json. Nothing is downloaded, and names of weights must match exactly. Rows are not padded: the
network that attends them adds zeros.

R rows (tokens, including the end token), D text dim.
"""

import html
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longtake.platform.checkpoints.files import check_finite, header_shapes, opened, read_json
from longtake.platform.checkpoints.keys import Shape, check_fit, listing, shapes_of
from longtake.platform.errors import ConfigError, WeightsError
from longtake.platform.machine.vision_ops import ready
from longtake.platform.models.text.umt5 import EMBEDDING, TWIN, UMT5Spec

MAX_TOKENS = 512
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer/tokenizer.json"


class TextEncoder:
    """A loaded text encoder. Raises WeightsError if the folder is not a complete encoder."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16):
        check_text(folder)
        self.prompts = Prompts(folder)
        self.device = torch.device(device)
        self.network = load_network(folder, self.device, dtype)

    @torch.inference_mode()
    def __call__(self, prompt: str) -> Tensor:
        """[R, D] on the encoder's device and in its dtype. R is at most MAX_TOKENS, see `tokens`."""
        ids = torch.tensor([self.prompts.ids(prompt)], device=self.device)
        text_RD: Tensor = self.network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        if not text_RD.isfinite().all():
            raise WeightsError(
                f"the text encoder returned numbers that are not finite for {prompt[:60]!r}; verify its weights"
            )
        return text_RD

    def tokens(self, prompt: str) -> int:
        """Number of tokens of the prompt. Tokens after MAX_TOKENS are not used."""
        return self.prompts.tokens(prompt)


class Prompts:
    """Converts prompts to token ids, without the weights of the encoder."""

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer

        path = folder / TOKENIZER
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise WeightsError(f"{path}: cannot be read as a tokenizer ({error}); fetch it again") from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.end = spec_in(folder).eos_token_id
        if self.tokenizer.encode("").ids != [self.end]:
            raise WeightsError(f"{path}: does not end a text with token {self.end}; this is not a tokenizer of UMT5")

    def tokens(self, prompt: str) -> int:
        """Number of tokens, including the end token, before truncation."""
        return len(self.tokenizer.encode(clean(prompt)).ids)

    def ids(self, prompt: str) -> list[int]:
        """At most MAX_TOKENS token ids, of which the last is the end token."""
        ids: list[int] = self.tokenizer.encode(clean(prompt)).ids
        return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], self.end]


def clean(prompt: str) -> str:
    """Clean a prompt like Wan: fix broken characters, resolve HTML entities (twice), collapse white space."""
    try:
        import ftfy
    except ImportError as error:
        raise not_installed(error) from error
    fixed = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", fixed).strip()


def not_installed(error: ImportError) -> ConfigError:
    return ConfigError(f"a text encoder needs a missing package ({error}); run pip install '.[wan]'")


def check_text(folder: Path) -> None:
    """Raises WeightsError for missing files, missing or unexpected weights, or other shapes; reads headers only."""
    missing = [name for name in (CONFIG, TOKENIZER, *weight_files(folder)) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder}: no {listing(missing)}; a text encoder needs all of them, fetch it again")
    shapes: dict[str, Shape] = {}
    for name in weight_files(folder):
        shapes |= {own_key(key): shape for key, shape in header_shapes(folder / name, str).items()}
    expected = shapes_of(empty_network(folder).state_dict())
    expected.pop(TWIN)
    check_fit(shapes, expected, str(folder))


def check_width(folder: Path, text_dim: int) -> None:
    """Raises WeightsError unless the embeddings have the network's `text_dim`."""
    width = spec_in(folder).d_model
    if width != text_dim:
        raise WeightsError(f"{folder}: embeddings have {width} numbers, the network takes {text_dim}; pull it again")


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files, from the index if there is one, otherwise from the folder."""
    if (folder / INDEX).is_file():
        return sorted(set(read_json(folder / INDEX).get("weight_map", {}).values())) or [WEIGHTS]
    return sorted(path.name for path in folder.glob("*.safetensors")) or [WEIGHTS]


def own_key(key: str) -> str:
    return EMBEDDING if key == TWIN else key


def spec_in(folder: Path) -> UMT5Spec:
    """The sizes in config.json; other keys are ignored. Raises WeightsError."""
    config, names = read_json(folder / CONFIG), {field.name for field in fields(UMT5Spec)}
    try:
        return UMT5Spec(**{key: value for key, value in config.items() if key in names})
    except TypeError as error:
        raise WeightsError(f"{folder / CONFIG}: is not a config of UMT5 ({error}); fetch it again") from error


def empty_network(folder: Path) -> nn.Module:
    """The encoder on the meta device. Uses plain attention, because other implementations round differently."""
    ready()
    try:
        from transformers import UMT5Config, UMT5EncoderModel
    except ImportError as error:
        raise not_installed(error) from error
    config = UMT5Config(**asdict(spec_in(folder)))
    config._attn_implementation = "eager"
    with torch.device("meta"):
        network: nn.Module = UMT5EncoderModel(config)
    return network


def load_network(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The encoder with its weights, loaded one tensor at a time, so that there is never a second copy."""
    network: Any = empty_network(folder)
    for name in weight_files(folder):
        with opened(folder / name) as file:
            loaded = {own_key(key): file.get_tensor(key).to(device, dtype) for key in file.keys()}  # noqa: SIM118
        for key, value in loaded.items():
            check_finite(value, key, folder / name)
        network.load_state_dict(loaded, strict=False, assign=True)
    network.set_input_embeddings(network.shared)
    return network.eval().requires_grad_(False)
