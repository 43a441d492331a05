"""A page as vLLM has it, as the collector reads it."""

from __future__ import annotations

import time

from extproc.demo.vllm_page import EngineLoad, LoraRequests, metrics_page
from extproc.policy.metrics_page import PageLoad, read_page

LOAD = EngineLoad(running=3, waiting=2, cache=0.25, blocks=4096, block_tokens=16)


def test_it_is_read_as_a_real_one() -> None:
    page = metrics_page("llama-3-8b", LOAD)
    assert read_page("vllm", page.encode()) == PageLoad(waiting=2, running=3, cache=0.25, block_size=16)
    assert 'vllm:num_requests_waiting{engine="0",model_name="llama-3-8b"} 2.0\n' in page
    assert 'num_gpu_blocks="4096"' in page
    assert "lora" not in page, "it has no adapters"
    odd = metrics_page('a"b\\c\nd', LOAD)
    assert r'model_name="a\"b\\c\nd"' in odd
    assert read_page("vllm", odd.encode()).waiting == 2


def test_adapters_and_when_it_was_told() -> None:
    before = time.time()
    page = metrics_page("m", EngineLoad(1, 1, 0.0, 8, 16, LoraRequests(("a", "b"), ("c",), 4)))
    load = read_page("vllm", page.encode())
    assert (load.adapters, load.loading) == (frozenset("ab"), frozenset("c"))
    (line,) = (line for line in page.splitlines() if line.startswith("vllm:lora_requests_info{"))
    assert 'max_lora="4"' in line
    assert before <= float(line.rpartition(" ")[2]) <= time.time()
