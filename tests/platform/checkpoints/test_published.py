"""Published layouts become weights of our networks: names, types, LoRA sums, and what is refused.

The files are small and real: written by torch.save as the published ones are, opened by the code that opens those.
"""

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.platform.checkpoints.files import check_header, check_lora_header, load_into
from longtake.platform.checkpoints.lora import merge_lora
from longtake.platform.checkpoints.pickles import published_state
from longtake.platform.checkpoints.writer import write_safetensors
from longtake.platform.errors import WeightsError
from longtake.platform.models.causal_dit import CausalDiT
from longtake.platform.models.spec import DiTSpec

GOLDEN = Path(__file__).parents[2] / "golden"
TINY = DiTSpec(16, 24, 2, 2, 4, 4, 4, 6, 10, freq_dim=8)
WAN_1_3B = DiTSpec(1536, 8960, 12, 30, 16, 60, 104, 512, 4096)


def weights(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return CausalDiT(TINY).state_dict()


def empty(spec: DiTSpec = TINY) -> CausalDiT:
    with torch.device("meta"):
        return CausalDiT(spec)


def lora(rank: int = 3, name: str = "base_model.model.{}.lora_{}.weight") -> dict[str, Tensor]:
    """A pair for every linear of the attention blocks."""
    generator = torch.Generator().manual_seed(7)
    pairs = {}
    for key, value in weights().items():
        if key.startswith("blocks") and value.ndim == 2:
            pairs[name.format(key.removesuffix(".weight"), "A")] = torch.randn(
                rank, value.shape[1], generator=generator
            )
            pairs[name.format(key.removesuffix(".weight"), "B")] = torch.randn(
                value.shape[0], rank, generator=generator
            )
    return pairs


def published(prefix: str = "model.") -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights().items()}


class TestTheLayoutOfWan:
    def test_every_published_name_and_shape_is_ours(self) -> None:
        linear = {"weight": (1536, 1536), "bias": (1536,)}
        expected: dict[str, tuple[int, ...]] = {
            "patch_embedding.weight": (1536, 16, 1, 2, 2),
            "patch_embedding.bias": (1536,),
            "text_embedding.0.weight": (1536, 4096),
            "text_embedding.0.bias": (1536,),
            "time_embedding.0.weight": (1536, 256),
            "time_embedding.0.bias": (1536,),
            "time_projection.1.weight": (6 * 1536, 1536),
            "time_projection.1.bias": (6 * 1536,),
            "head.modulation": (1, 2, 1536),
            "head.head.weight": (64, 1536),
            "head.head.bias": (64,),
        }
        expected |= {
            f"{name}.2.{part}": shape for name in ("text_embedding", "time_embedding") for part, shape in linear.items()
        }
        for i in range(30):
            block = f"blocks.{i}"
            expected[f"{block}.modulation"] = (1, 6, 1536)
            expected |= {f"{block}.norm3.{part}": (1536,) for part in linear}
            expected |= {f"{block}.ffn.0.weight": (8960, 1536), f"{block}.ffn.0.bias": (8960,)}
            expected |= {f"{block}.ffn.2.weight": (1536, 8960), f"{block}.ffn.2.bias": (1536,)}
            for attention in ("self_attn", "cross_attn"):
                expected |= {f"{block}.{attention}.{norm}.weight": (1536,) for norm in ("norm_q", "norm_k")}
                expected |= {f"{block}.{attention}.{one}.{part}": s for one in "qkvo" for part, s in linear.items()}
        assert len(expected) == 825  # 15 outside, 27 in each of 30 blocks
        assert {name: tuple(value.shape) for name, value in empty(WAN_1_3B).state_dict().items()} == expected

    def test_1_42_billion_weights(self) -> None:
        # a block: 8 * 1536 * 1537 + 2 * 1536 * 8960 + 1536 + 8960 + 4 * 1536 + 2 * 1536 + 6 * 1536 = 46,440,704
        assert sum(value.numel() for value in empty(WAN_1_3B).blocks[0].state_dict().values()) == 46_440_704
        assert sum(value.numel() for value in empty(WAN_1_3B).state_dict().values()) * 4 == pytest.approx(
            5.68e9, rel=0.001
        )

    @pytest.mark.parametrize("name", ["A", "B"])
    def test_names_recorded_from_the_published_implementation(self, name: str) -> None:
        told = json.loads((GOLDEN / f"weights_{name}.json").read_text())
        arch = told["arch"]
        sizes = [
            arch[key]
            for key in ("dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "latent_height", "latent_width")
        ]
        spec = DiTSpec(*sizes, text_len=arch["text_len"], text_dim=arch["text_dim"], freq_dim=arch["freq_dim"])
        check_header(GOLDEN / f"weights_{name}.safetensors", empty(spec))


class TestPublishedPickles:
    def test_the_first_key_that_is_there_is_taken_and_names_are_cleaned(self, tmp_path: Path) -> None:
        path = tmp_path / "p.pt"
        wrapped = {"model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.norm3.bias": torch.ones(2)}
        torch.save({"step": 7, "model": {"x": torch.zeros(1)}, "generator": wrapped, "note": "hello"}, path)
        assert list(published_state(path, ("generator", "model"))) == ["blocks.0.norm3.bias"]
        assert list(published_state(path, ("generator_ema", "model"))) == ["x"]

    def test_types_are_kept_and_numbers_too(self, tmp_path: Path) -> None:
        state = {"a": torch.randn(3, 5).bfloat16(), "b": torch.randn(2).half(), "c": torch.randn(4)}
        torch.save({"generator": OrderedDict(state)}, tmp_path / "p.pt")
        loaded = published_state(tmp_path / "p.pt", ("generator",))
        assert all(loaded[name].dtype == value.dtype and loaded[name].equal(value) for name, value in state.items())

    def test_a_file_of_before_torch_1_6_is_read_too(self, tmp_path: Path) -> None:
        torch.save({"g": {"w": torch.arange(3)}}, tmp_path / "p.pt", _use_new_zipfile_serialization=False)
        assert published_state(tmp_path / "p.pt", ("g",))["w"].tolist() == [0, 1, 2]

    def test_no_such_key_names_what_is_there(self, tmp_path: Path) -> None:
        torch.save({"critic": {}, "generator": {}}, tmp_path / "p.pt")
        with pytest.raises(WeightsError, match=r"p\.pt: has no generator_ema, only critic, generator; use another"):
            published_state(tmp_path / "p.pt", ("generator_ema",))

    @pytest.mark.parametrize(
        "state",
        [{}, [torch.zeros(1)], {"w": 1.0}, {"w": {"deep": torch.zeros(1)}}, {3: torch.zeros(1)}, torch.zeros(2)],
    )
    def test_what_is_no_table_of_tensors_is_refused(self, state: object, tmp_path: Path) -> None:
        torch.save({"g": state}, tmp_path / "p.pt")
        with pytest.raises(WeightsError, match=r"p\.pt: .*; use another file"):
            published_state(tmp_path / "p.pt", ("g",))

    def test_a_sparse_tensor_is_refused(self, tmp_path: Path) -> None:
        torch.save({"g": {"w": torch.zeros(3).to_sparse()}}, tmp_path / "p.pt")
        with pytest.raises(WeightsError, match=r"p\.pt: w is not a dense tensor"):
            published_state(tmp_path / "p.pt", ("g",))

    def test_a_small_file_cannot_claim_a_huge_tensor(self, tmp_path: Path) -> None:
        torch.save({"g": {"w": torch.zeros(1).expand(10**12)}}, tmp_path / "p.pt")
        with pytest.raises(WeightsError, match="w needs more numbers than the file contains"):
            published_state(tmp_path / "p.pt", ("g",))

    def test_two_names_that_clean_to_one_are_refused(self, tmp_path: Path) -> None:
        torch.save({"g": {"model.w": torch.zeros(1), "w": torch.ones(1)}}, tmp_path / "p.pt")
        with pytest.raises(WeightsError, match="same clean name"):
            published_state(tmp_path / "p.pt", ("g",))

    def test_a_file_that_is_not_there_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"none\.pt: file not found; fetch it with longtake weights pull"):
            published_state(tmp_path / "none.pt", ("g",))


class TestWriting:
    def test_the_reader_of_safetensors_finds_the_same_numbers(self, tmp_path: Path) -> None:
        tied = torch.randn(4, 3)
        state = {
            "bf16": torch.randn(3, 5).bfloat16(),
            "turned": torch.randn(4, 6).t(),
            "tied": tied,
            "tied_too": tied,
            "scalar": torch.tensor(2.5),
            "none": torch.zeros(0, 3),
            "whole": torch.arange(5),
            "half": torch.randn(3).half(),
            "flag": torch.tensor([True, False]),
        }
        write_safetensors(state, tmp_path / "w.safetensors")
        loaded = load_file(tmp_path / "w.safetensors")
        assert loaded.keys() == state.keys()
        assert all(loaded[name].equal(value) and loaded[name].dtype == value.dtype for name, value in state.items())

    def test_the_same_weights_give_the_same_bytes_in_any_order(self, tmp_path: Path) -> None:
        state = weights()
        write_safetensors(state, tmp_path / "a")
        write_safetensors(dict(reversed(state.items())), tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_a_type_without_a_code_is_refused_and_nothing_written(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"w is torch\.complex64"):
            write_safetensors({"w": torch.zeros(1, dtype=torch.complex64)}, tmp_path / "w.safetensors")
        assert not list(tmp_path.iterdir())


class TestHeaders:
    def test_missing_and_unexpected_are_both_named(self, tmp_path: Path) -> None:
        state = published()
        state["model.extra.weight"] = state.pop("model.head.head.bias")
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match=r"w\.safetensors: missing head\.head\.bias; unexpected extra\.weight"):
            check_header(tmp_path / "w.safetensors", empty())

    def test_a_wrong_shape_names_both(self, tmp_path: Path) -> None:
        save_file(published() | {"model.head.head.bias": torch.zeros(3)}, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match=r"head\.head\.bias has shape \[3\], the architecture needs \[16\]"):
            check_header(tmp_path / "w.safetensors", empty())

    def test_no_number_is_read(self, tmp_path: Path) -> None:
        """A file of the right length whose numbers were never written passes: its header is all that is looked at."""
        save_file(published(), tmp_path / "w.safetensors")
        data = (tmp_path / "w.safetensors").read_bytes()
        length = 8 + int.from_bytes(data[:8], "little")
        with (tmp_path / "hollow.safetensors").open("wb") as file:
            file.write(data[:length])
            file.truncate(len(data))
        check_header(tmp_path / "hollow.safetensors", empty())

    @pytest.mark.parametrize("keep", [4, 100, -1])
    def test_a_file_cut_short_is_one_line(self, keep: int, tmp_path: Path) -> None:
        save_file(published(), tmp_path / "w.safetensors")
        (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:keep])
        with pytest.raises(WeightsError, match=r"w\.safetensors: cannot be read"):
            check_header(tmp_path / "w.safetensors", empty())

    def test_a_lora_is_pairs_alone_and_fits(self, tmp_path: Path) -> None:
        save_file(lora(), tmp_path / "l.safetensors")
        check_lora_header(tmp_path / "l.safetensors", empty())
        save_file({key: value[:, :2].contiguous() for key, value in lora().items()}, tmp_path / "l.safetensors")
        with pytest.raises(WeightsError, match=r"l\.safetensors: .* cannot update blocks\.0\."):
            check_lora_header(tmp_path / "l.safetensors", empty())


class TestLoading:
    def test_a_network_of_the_meta_device_gets_every_weight(self, tmp_path: Path) -> None:
        save_file(published(), tmp_path / "w.safetensors")
        network = empty()
        load_into(network, tmp_path / "w.safetensors")
        assert all(value.equal(weights()[name]) for name, value in network.state_dict().items())

    def test_the_type_asked_for_is_the_type_given(self, tmp_path: Path) -> None:
        save_file(published(), tmp_path / "w.safetensors")
        network = empty()
        load_into(network, tmp_path / "w.safetensors", dtype=torch.bfloat16)
        assert all(value.equal(weights()[name].bfloat16()) for name, value in network.state_dict().items())

    def test_numbers_that_are_not_finite_are_refused(self, tmp_path: Path) -> None:
        save_file(published() | {"model.head.head.bias": torch.full((16,), torch.inf)}, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match=r"head\.head\.bias holds numbers that are not finite"):
            load_into(empty(), tmp_path / "w.safetensors")

    def test_a_lora_is_merged_on_the_way_before_the_cast(self, tmp_path: Path) -> None:
        save_file(published(), tmp_path / "w.safetensors")
        save_file(lora(), tmp_path / "l.safetensors")
        network = empty()
        load_into(
            network, tmp_path / "w.safetensors", torch.bfloat16, lora=tmp_path / "l.safetensors", alpha_over_r=0.5
        )
        expected = merge_lora(weights(), lora(), 0.5)
        assert all(value.equal(expected[name].bfloat16()) for name, value in network.state_dict().items())


class TestLoRA:
    def test_the_sum_by_hand(self) -> None:
        # B A = [[1], [2]] x [[3, 4]] = [[3, 4], [6, 8]]; twice that on W = 1 gives [[7, 9], [13, 17]]
        pair = {"m.lora_A.weight": torch.tensor([[3.0, 4.0]]), "m.lora_B.weight": torch.tensor([[1.0], [2.0]])}
        base = {"m.weight": torch.ones(2, 2), "m.bias": torch.ones(2)}
        merged = merge_lora(base, pair, 2.0)
        assert merged["m.weight"].tolist() == [[7.0, 9.0], [13.0, 17.0]]
        assert merged["m.bias"] is base["m.bias"]
        assert base["m.weight"].eq(1).all()

    @pytest.mark.parametrize(
        "name",
        [
            "base_model.model.{}.lora_{}.weight",
            "base_model.model.{}.lora_{}.default.weight",
            "base_model.model.model._fsdp_wrapped_module.{}.lora_{}.default.weight",
            "{}.lora_{}.weight",
        ],
    )
    def test_applying_the_update_equals_running_it_beside_the_linear(self, name: str) -> None:
        base, update = weights(), lora(name=name)
        merged = merge_lora(base, update, 0.25)
        x = torch.randn(5, 16)
        key = "blocks.1.ffn.0"
        a, b = update[name.format(key, "A")], update[name.format(key, "B")]
        assert torch.allclose(
            x @ merged[f"{key}.weight"].T, x @ base[f"{key}.weight"].T + 0.25 * (x @ a.T) @ b.T, atol=1e-5
        )
        assert sum(not merged[key].equal(base[key]) for key in base) == 20  # 2 blocks of q, k, v, o twice and 2 of ffn

    def test_weights_in_bf16_are_summed_in_float32(self) -> None:
        base = {key: value.bfloat16() for key, value in weights().items()}
        merged = merge_lora(base, {key: value.bfloat16() for key, value in lora().items()})
        key = "blocks.0.self_attn.q"
        a, b = (lora()[f"base_model.model.{key}.lora_{side}.weight"].bfloat16().double() for side in "AB")
        exact = (base[f"{key}.weight"].double() + b @ a).bfloat16()
        assert merged[f"{key}.weight"].dtype == torch.bfloat16
        assert torch.allclose(merged[f"{key}.weight"].float(), exact.float(), rtol=2**-7)

    def test_every_key_must_be_used(self) -> None:
        half = {"base_model.model.head.head.lora_A.weight": torch.zeros(3, 16)}
        with pytest.raises(
            WeightsError, match=r"no pair of lora_A and lora_B for base_model\.model\.head\.head\.lora_A"
        ):
            merge_lora(weights(), lora() | half)
        with pytest.raises(WeightsError, match=r"no pair .* for blocks\.0\.modulation"):
            merge_lora(weights(), lora() | {"blocks.0.modulation": torch.zeros(1)})
        with pytest.raises(WeightsError, match="no pair of lora_A and lora_B for nothing"):
            merge_lora(weights(), {})

    def test_a_lora_of_another_network_is_refused(self) -> None:
        foreign = lora(name="base_model.model.deep.{}.lora_{}.weight")
        with pytest.raises(
            WeightsError, match=r"updates deep\.blocks\.0\.cross_attn\.k\.weight, .*, not in the weights"
        ):
            merge_lora(weights(), foreign)
