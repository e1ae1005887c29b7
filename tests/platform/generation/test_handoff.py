"""Latents reach the thread that decodes them whole, and on a CPU as they are."""

from threading import Thread

import pytest
import torch

from longtake.platform.generation.handoff import received, send


def test_on_a_cpu_the_tensor_itself_is_handed_over():
    latents = torch.randn(3, 2, 4, 4)
    with received(send(latents)) as got:
        assert got is latents


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_other_thread_sees_the_finished_latents_on_a_stream_of_its_own():
    seen = []

    def read(sent):
        with received(sent) as latents:
            seen.append((torch.cuda.current_stream() != torch.cuda.default_stream(), latents.sum().item()))

    with torch.inference_mode():
        ones = torch.ones(4096, 4096, device="cuda")
        for _ in range(5):
            product = ones @ ones
            for _ in range(20):
                product = product @ ones / 4096
            # 4096 * 4096 numbers, each 4096
            reader = Thread(target=read, args=(send(product),))
            reader.start()
            del product
            reader.join()
    assert seen == [(True, 4096.0**3)] * 5
