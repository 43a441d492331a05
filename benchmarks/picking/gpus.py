"""How long a step of an engine takes: a roofline of GPU and model, by the numbers of their makers.

Model: Llama 3.1 8B, by its ``config.json`` (32 layers of 4096, 8 heads for keys and values of 128, 8.03 billion
parameters) in bfloat16. GPUs: NVIDIA's data sheets (dense bfloat16, memory bandwidth, memory). The shares of these that
are reached, and the time between steps, are round numbers of the order that is published; none was measured here.
"""

from __future__ import annotations

import msgspec

PARAMETERS = 8.03e9
WEIGHTS = 2 * PARAMETERS
"""Bytes."""
CACHE_OF_A_TOKEN = 2 * 32 * 8 * 128 * 2
"""Bytes of keys and values."""
ATTENTION = 4 * 32 * 4096
"""Operations for a token and each token before it."""
COMPUTE_REACHED, BANDWIDTH_REACHED = 0.5, 0.8
BETWEEN_STEPS = 0.001
"""Seconds for the scheduler and the launch of kernels."""
MEMORY_USED = 0.9
"""Share of the GPU's memory that vLLM takes (``gpu_memory_utilization``)."""
ACTIVATIONS = 2e9
"""Bytes of it for anything else than weights and cache."""


class Gpu(msgspec.Struct, frozen=True):
    """One kind of GPU."""

    name: str
    operations: float
    """A second."""
    bandwidth: float
    """Bytes a second."""
    memory: float
    """Bytes."""
    slowness: float = 1.0
    """Everything takes so many times as long: a GPU that is throttled, or whose host is busy."""

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values it can hold."""
        return int((MEMORY_USED * self.memory - WEIGHTS - ACTIVATIONS) / CACHE_OF_A_TOKEN)

    def step(self, tokens: int, attended: float, read: float) -> float:
        """Seconds of a step.

        ``tokens``: computed in it, one for each answer that is being written, and the pieces of prompts. ``attended``:
        pairs of tokens in those pieces. ``read``: tokens whose keys and values are read for answers.
        """
        computing = (2 * PARAMETERS * tokens + ATTENTION * attended) / (self.operations * COMPUTE_REACHED)
        loading = WEIGHTS / (self.bandwidth * BANDWIDTH_REACHED)
        reading = CACHE_OF_A_TOKEN * read / (self.bandwidth * BANDWIDTH_REACHED)
        return self.slowness * (BETWEEN_STEPS + max(computing, loading) + reading)


H100 = Gpu("H100 SXM", 989e12, 3.35e12, 80e9)
L40S = Gpu("L40S", 362e12, 0.864e12, 48e9)
