"""The text encoder of Wan: a prompt becomes the rows that its network cross-attends to.

Owns the preparation of a prompt (as Wan was trained with) and the loading of a UMT5; the only importer of transformers.
A folder holds config.json, *.safetensors in transformers' names (one, or several with their index) and
tokenizer/tokenizer.json, which is used as it is: nothing is fetched, nothing rebuilt, no weight missing or left over.
Nothing is padded: rows are the prompt's tokens, and the network that attends to them makes the rest zeros.

R rows (tokens, the end mark included), D width of the text.
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
from longtake.platform.models.text.umt5 import EMBEDDING, TWIN, UMT5Spec
from longtake.platform.vision_ops import ready

MAX_TOKENS = 512
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer/tokenizer.json"


class TextEncoder:
    """Loaded once, asked often. Raises WeightsError if the folder is not a whole encoder."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16):
        check_text(folder)
        self.prompts = Prompts(folder)
        self.device = torch.device(device)
        self.network = load_network(folder, self.device, dtype)

    @torch.inference_mode()
    def __call__(self, prompt: str) -> Tensor:
        """[R, D] on the encoder's device and in its dtype; R is at most MAX_TOKENS, see `tokens`."""
        ids = torch.tensor([self.prompts.ids(prompt)], device=self.device)
        text_RD: Tensor = self.network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        if not text_RD.isfinite().all():
            raise WeightsError(
                f"the text encoder gave numbers that are not finite for {prompt[:60]!r}; verify its weights"
            )
        return text_RD

    def tokens(self, prompt: str) -> int:
        """How many tokens the prompt has; what is past MAX_TOKENS is not read."""
        return self.prompts.tokens(prompt)


class Prompts:
    """A prompt as token ids, without the weights of the encoder."""

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
            raise WeightsError(f"{path}: does not end a text with token {self.end}; this is no tokenizer of UMT5")

    def tokens(self, prompt: str) -> int:
        """The end mark included, before truncation."""
        return len(self.tokenizer.encode(clean(prompt)).ids)

    def ids(self, prompt: str) -> list[int]:
        """At most MAX_TOKENS, the last of them the end mark."""
        found: list[int] = self.tokenizer.encode(clean(prompt)).ids
        return found if len(found) <= MAX_TOKENS else [*found[: MAX_TOKENS - 1], self.end]


def clean(prompt: str) -> str:
    """As Wan reads it: broken characters mended, HTML entities resolved (twice), white space collapsed."""
    try:
        import ftfy
    except ImportError as error:
        raise not_installed(error) from error
    mended = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", mended).strip()


def not_installed(error: ImportError) -> ConfigError:
    return ConfigError(f"a text encoder needs a package that is not there ({error}); pip install 'longtake[wan]'")


def check_text(folder: Path) -> None:
    """WeightsError that names missing files, missing and unexpected weights, or another shape; reads headers only."""
    lacking = [name for name in (CONFIG, TOKENIZER, *weight_files(folder)) if not (folder / name).is_file()]
    if lacking:
        raise WeightsError(f"{folder}: lacks {listing(lacking)}; a text encoder needs them, fetch it again")
    found: dict[str, Shape] = {}
    for name in weight_files(folder):
        found |= {own_key(key): shape for key, shape in header_shapes(folder / name, str).items()}
    needed = shapes_of(empty_network(folder).state_dict())
    needed.pop(TWIN)
    check_fit(found, needed, str(folder))


def check_width(folder: Path, wanted: int) -> None:
    """WeightsError unless the embeddings are as wide as a network's text."""
    given = spec_in(folder).d_model
    if given != wanted:
        raise WeightsError(f"{folder}: gives embeddings of {given} numbers, the network takes {wanted}; pull it again")


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files: those of the index if there is one, else every one that is there."""
    if (folder / INDEX).is_file():
        return sorted(set(read_json(folder / INDEX).get("weight_map", {}).values())) or [WEIGHTS]
    return sorted(path.name for path in folder.glob("*.safetensors")) or [WEIGHTS]


def own_key(key: str) -> str:
    return EMBEDDING if key == TWIN else key


def spec_in(folder: Path) -> UMT5Spec:
    """The sizes in config.json; keys that are not sizes are not ours to judge."""
    told, known = read_json(folder / CONFIG), {field.name for field in fields(UMT5Spec)}
    try:
        return UMT5Spec(**{key: value for key, value in told.items() if key in known})
    except TypeError as error:
        raise WeightsError(f"{folder / CONFIG}: is no config of UMT5 ({error}); fetch it again") from error


def empty_network(folder: Path) -> nn.Module:
    """The encoder on the meta device. Plain attention: the others round differently."""
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
    """The encoder with its weights, one tensor at a time: the file is never held a second time."""
    network: Any = empty_network(folder)
    for name in weight_files(folder):
        with opened(folder / name) as file:
            loaded = {own_key(key): file.get_tensor(key).to(device, dtype) for key in file.keys()}  # noqa: SIM118
        for key, value in loaded.items():
            check_finite(value, key, folder / name)
        network.load_state_dict(loaded, strict=False, assign=True)
    network.set_input_embeddings(network.shared)
    return network.eval().requires_grad_(False)
