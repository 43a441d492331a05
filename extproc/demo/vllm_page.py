"""The metrics page of a server like vLLM: those of its metrics that tell of its load.

Source: vLLM 0.11, ``vllm/v1/metrics/loggers.py``.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

_PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{labels} {load.running:.1f}
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{labels} {load.waiting:.1f}
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{labels} {load.cache}
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{cache} 1.0
"""
_ADAPTERS = """\
# HELP vllm:lora_requests_info Running stats on lora requests.
# TYPE vllm:lora_requests_info gauge
vllm:lora_requests_info{labels} {now}
"""


class LoraRequests(msgspec.Struct, frozen=True):
    """Which adapters requests use."""

    running: Collection[str]
    waiting: Collection[str]
    places: int
    """Adapters that fit into the memory at a time."""


class EngineLoad(msgspec.Struct, frozen=True):
    """What a page tells."""

    running: int
    waiting: int
    cache: float
    """Share of the blocks in use, 0 to 1."""
    blocks: int
    """Of the KV cache."""
    block_tokens: int
    adapters: LoraRequests | None = None
    """None: the server has none."""


def metrics_page(model: str, load: EngineLoad) -> str:
    """In Prometheus' text format."""
    labels = _labels(engine="0", model_name=model)
    cache = _labels(block_size=load.block_tokens, enable_prefix_caching=True, engine="0", num_gpu_blocks=load.blocks)
    page = _PAGE.format(labels=labels, load=load, cache=cache)
    if (adapters := load.adapters) is None:
        return page
    names = {"running_lora_adapters": ",".join(adapters.running), "waiting_lora_adapters": ",".join(adapters.waiting)}
    return page + _ADAPTERS.format(labels=_labels(max_lora=adapters.places, **names), now=time.time())


def _labels(**values: object) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in values.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
