"""On Linkerd, rules select the Services that linkerd-adapter renders: the same policies, both sides."""

from __future__ import annotations

import pytest
from linkerd_adapter import plan

from extproc.render.prometheus.metric_sources import backends
from tests.policy_documents import file, policy, pool, snapshot_of

POD = "selector: {matchLabels: {app: chat}}\nhost: chat.ai.svc.cluster.local\n"
VERSIONS = "versions: [{name: v1, weight: 9}, {name: V.2, weight: 1}, {name: v3, mirror: 5}]\n"
POOLS = (
    pool("product: NVIDIA-A100-SXM4-80GB", "a100-west"),
    pool("product: NVIDIA-H100-80GB-HBM3\nendpoints: ['10.0.0.1:80', 'h100.ai.svc:80']", "h100-east"),
)


@pytest.mark.parametrize(
    "text",
    [
        policy(POD + "models: [a]"),
        policy(POD + "models: [a]\n" + VERSIONS),
        file(policy(POD + "models: [a]\n" + VERSIONS, "one"), policy(POD + "models: [b]\n" + VERSIONS, "two")),
        file(
            policy(POD + "models: [a]\n" + VERSIONS, "one"),
            policy(POD.replace(".svc.cluster.local", "") + "models: [b]\n" + VERSIONS, "two"),
        ),
        file(policy(POD + "gpuRequirements: {}\n" + VERSIONS), *POOLS),
        file(policy(POD + "gpuRequirements: {}"), *POOLS),
        policy(POD + "versions: [{name: v1, endpoints: ['10.0.0.1:80', '10.0.0.2:80']}]"),
        policy(POD + "versions: [{name: v1, endpoints: ['one.ai.svc:80', 'two.ai.svc.cluster.local:81']}]"),
        policy(POD + "versions: [{name: v1, endpoints: ['one.ai.svc:80', '10.0.0.1:80']}]"),
        policy(f"{POD}versions: [{{name: {'long-' * 12}v1, weight: 1}}, {{name: v2, weight: 1}}]"),
    ],
)
def test_the_same_services(text: str) -> None:
    snapshot = snapshot_of(text)
    planned = plan.make(snapshot, "ai")
    for owner in snapshot.policies:
        for place in planned.places[owner.name]:
            wanted = {(b.service.namespace, b.service.name, b.port) for b in place.backends}
            assert set(backends(snapshot, owner, place.target)) == wanted
