"""A processor with twenty models of which three are busy, for the page: no Envoy, since it is told of exchanges."""

from __future__ import annotations

from pathlib import Path

from tests.grpc.exchanges import exchange, tell

BUSY = {"llama-3-8b": 30, "mixtral-8x7b": 12, "whisper-large": 5}
"""Exchanges in one round, of its first version."""
MODELS = sorted([*BUSY, *(f"model-{letter}" for letter in "abcdefghijklmnopq")])


def write_policies(directory: Path) -> Path:
    """One policy a model, each with two versions."""
    path = directory / "policies.yaml"
    path.write_text("---\n".join(map(_policy, MODELS)))
    return path


def _policy(model: str) -> str:
    return f"""\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {{name: {model}}}
spec: {{host: {model}, models: [{model}], versions: [{{name: v1, weight: 90}}, {{name: v2, weight: 10}}]}}
"""


def tell_of_a_round(address: str) -> int:
    """Tells the processor at ``address`` of a round of exchanges; how many."""
    told = [exchange(model=model, policy=model) for model, count in BUSY.items() for _ in range(count)]
    told.append(exchange(model="llama-3-8b", policy="llama-3-8b", version="v2"))
    tell(address, *told)
    return len(told)
