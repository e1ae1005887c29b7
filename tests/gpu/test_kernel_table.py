"""A kernel's name gives its class of work, and overlapping kernels count once."""

import pytest

from tests.gpu.kernel_table import Kernel, busy_ms, class_of, short, totals

NAMES = {
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128": "attention",
    "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<128>>": "attention",
    "fmha_cutlassF_bf16_aligned_64x128_rf_sm80": "attention",
    "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc": "convolution",
    "void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16>": "convolution",
    "nvjet_tst_128x256_64x4_2x1_v_bz_coopA_bias_TNT": "product",
    "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16>": "product",
    "void cublasLt::splitKreduce_kernel<32, 16, int>": "product",
    "Memcpy HtoD (Pinned -> Device)": "memcpy",
    "Memset (Device)": "memcpy",
    "triton_red_fused_native_layer_norm_mul_0": "fused by the compiler",
    "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>": "norm",
    "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(long)>": "copy, cast",
    "void at::native::(anonymous namespace)::CatArrayBatchedCopy<c10::BFloat16>": "copy, cast",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>>": "reduction",
    "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl>": "pointwise",
    "rotate_kernel": "rotation",
    "spin_kernel(long)": "other",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_its_class(name):
    assert class_of(name) == NAMES[name]


def test_kernels_beside_each_other_count_once_and_gaps_do_not_count():
    kernels = [Kernel("copy", 4.0, 6.0), Kernel("a", 0.0, 3.0), Kernel("b", 2.0, 5.0), Kernel("c", 8.0, 9.0)]
    # 0 to 6 without a gap, then 8 to 9
    assert busy_ms(kernels) == 7.0
    assert busy_ms([Kernel("whole", 0.0, 10.0), Kernel("inside", 1.0, 2.0)]) == 10.0


def test_totals_are_sorted_by_time_and_count_launches():
    kernels = [Kernel("a", 0.0, 1.0), Kernel("b", 1.0, 4.0), Kernel("a", 4.0, 4.5)]
    assert totals(kernels, str) == [("b", 3.0, 1), ("a", 1.5, 2)]


def test_a_short_name_begins_with_what_the_kernel_is():
    assert short("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float>").startswith("vectorized")
