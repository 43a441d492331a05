"""Values of metric labels for one exchange: texts of the policies and of closed sets, never a client's or a server's.

What no policy names is ``other``, what is not there ``none``: so nobody outside can make up new series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from extproc.apis import NAMES as API_NAMES
from extproc.policy.snapshot import NONE, OTHER, Snapshot


class MetricLabels(NamedTuple):
    """One value for each label."""

    model: str
    """The pattern of the policy that the model's name matched."""
    version: str
    gpu_pool: str
    api: str
    policy: str
    """Empty where no policy owns the request."""


def metric_labels(snapshot: Snapshot, metadata: Mapping[str, str]) -> MetricLabels:
    """``metadata``: the dynamic metadata that ``aimesh.route`` wrote."""
    model, version = _model_and_version(snapshot, metadata)
    pool, api, policy = (metadata.get(key, "") for key in ("gpu_pool", "api", "policy"))
    return MetricLabels(
        model,
        version,
        pool if pool in snapshot.pool_by_name else OTHER if pool else NONE,
        api if api in API_NAMES else OTHER if api else NONE,
        policy if policy in snapshot.by_name else OTHER if policy else "",
    )


def _model_and_version(snapshot: Snapshot, metadata: Mapping[str, str]) -> tuple[str, str]:
    policy = snapshot.by_name.get(metadata.get("policy", ""))
    if policy is None:
        return OTHER, NONE
    match = snapshot.match(metadata.get("model", ""))  # some APIs have no name for their model
    # A request of a session is its policy's, whatever it names.
    pattern = match.pattern if match is not None and match.policy is policy else OTHER
    version = metadata.get("version", "")
    return pattern, version if version in policy.by_name else OTHER if version else NONE
