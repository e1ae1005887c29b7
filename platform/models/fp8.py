"""Linear layers in 8 bits: e4m3 weights with a scale per output, e4m3 activations with a scale per token.

`quantize_linears` replaces the linear layers of a loaded network's blocks. Keys and values of the cross-attention,
which are computed once per take, embeddings, modulation and the head stay in bf16. So do attention and all code between
two products: every product reads and returns bf16.

A number becomes x / scale, rounded to 4 significant bits (a relative error of at most 2^-4), where scale = absolute
maximum of its row / 448. Products run on the tensor cores of compute capability 8.9 and later, with fast accumulation.
They call `torch._scaled_mm`: `torch.nn.functional.scaled_mm` is the public name of the same operator, but torch 2.11
cannot trace it, so compiled graphs would break at every layer.

Shapes: N tokens, K inputs, M outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtake.platform import kernels
from longtake.platform.errors import ConfigError
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.layers import GELU
from longtake.platform.models.spec import DiTSpec

E4M3_MAX = 448.0
SMALLEST = 1e-12
"""Lower limit of the absolute maximum of a row, so that a row of zeros stays zeros."""
MULTIPLE = 16
"""K and M must be multiples of this."""
CAPABILITY = (8, 9)


def quantize_rows(x_NK: Tensor, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """Rows [N, K] -> e4m3 [N, K] and float32 scales [N, 1], x = values * scales. With `gelu`: of GELU(x), tanh form.

    Plain torch, which inductor fuses with preceding code; `platform.kernels.quantize_rows` is the same as a kernel.
    """
    wide = F.gelu(x_NK.float(), approximate="tanh") if gelu else x_NK.float()
    scales = wide.abs().amax(-1, keepdim=True).clamp_min(SMALLEST) * (1 / E4M3_MAX)
    return (wide * scales.reciprocal()).to(torch.float8_e4m3fn), scales


def quantize_tokens(x_NK: Tensor, gelu: bool) -> tuple[Tensor, Tensor]:
    """`quantize_rows`, with the Triton kernel on a GPU unless it is being compiled."""
    if torch.compiler.is_compiling() or not kernels.used_on(x_NK.device):
        return quantize_rows(x_NK, gelu)
    from longtake.platform.kernels import quantize_rows as kernel

    return kernel.quantize_rows(x_NK, E4M3_MAX, SMALLEST, gelu)


class Fp8Linear(nn.Module):
    """`linear` in 8 bits: bf16 [..., K] -> bf16 [..., M]. With `gelu`, applies GELU first, without extra traffic."""

    def __init__(self, linear: nn.Linear, gelu: bool = False):
        super().__init__()
        self.in_features, self.out_features, self.gelu = linear.in_features, linear.out_features, gelu
        values, scales = quantize_rows(linear.weight.detach())
        self.register_buffer("weight", values)
        self.register_buffer("weight_scale", scales.t().contiguous())
        self.bias = linear.bias
        self.weight: Tensor
        self.weight_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        values, scales = quantize_tokens(x.reshape(-1, self.in_features), self.gelu)
        product = torch._scaled_mm(
            values,
            self.weight.t(),
            scale_a=scales,
            scale_b=self.weight_scale,
            bias=self.bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        return product.view(*x.shape[:-1], self.out_features)


def quantize_linears(network: CausalDiT) -> CausalDiT:
    """Put every linear layer of the blocks in 8 bits, except keys and values of the text. Mutates the network.

    A GELU directly before a linear layer is fused into its quantisation. Raises ConfigError for a network that is not
    in bf16 or whose sizes the product does not support.
    """
    if network.dtype != torch.bfloat16:
        raise ConfigError(f"workers.precision: 'fp8' needs a network in bf16, this one is in {network.dtype}; set null")
    check_sizes(network.spec)
    for layer in network.blocks:
        for path, module in list(layer.named_modules()):
            if isinstance(module, nn.Linear) and not reads_text(path):
                parent = layer.get_submodule(path.rpartition(".")[0])
                setattr(parent, path.rpartition(".")[2], Fp8Linear(module, gelu=takes_gelu(parent, module)))
    return network


def reads_text(path: str) -> bool:
    """Whether this module of a layer computes keys or values of the cross-attention."""
    where, _, name = path.rpartition(".")
    return where.endswith("cross_attn") and name in ("k", "v", "kv")


def takes_gelu(parent: nn.Module, linear: nn.Module) -> bool:
    """Whether a GELU comes directly before this layer of a sequence. If so, removes it. Mutates `parent`."""
    if not isinstance(parent, nn.Sequential):
        return False
    before = list(parent).index(linear) - 1
    if before < 0 or not isinstance(parent[before], GELU):
        return False
    parent[before] = nn.Identity()
    return True


def check_sizes(spec: DiTSpec) -> None:
    """Raises ConfigError unless the product supports the network's sizes."""
    for name in ("dim", "ffn_dim"):
        size = getattr(spec, name)
        if size % MULTIPLE:
            raise ConfigError(
                f"workers.precision: 'fp8' needs sizes that are multiples of {MULTIPLE}, but {name} is {size}; set bf16"
            )


def check_device(device: torch.device) -> None:
    """Raises ConfigError unless the device supports products in 8 bits."""
    if device.type != "cuda":
        raise ConfigError(f"workers.precision: 'fp8' needs a CUDA device, but this is {device.type}; set bf16 or null")
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        raise ConfigError(
            f"workers.precision: 'fp8' needs compute capability {version(CAPABILITY)}, but "
            f"{torch.cuda.get_device_name(device)} has {version(capability)}; set bf16 or null"
        )


def version(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
