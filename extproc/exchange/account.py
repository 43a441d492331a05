"""What became of a request, by Envoy's access log: where it went, how it ended, and whose failure it was."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.answers import is_session
from extproc.envoy.access_log import LoggedRequest
from extproc.exchange.metric_labels import MetricLabels, metric_labels
from extproc.exchange.notes import Fault, RequestAccount
from extproc.exchange.sampling import LEFT_OUT, OBSERVE
from extproc.policy.snapshot import NONE, OTHER, Snapshot, Target

ACCOUNTED = ("x-aimesh-account", "access-log")
"""gRPC metadata of observed exchanges of which the access log tells, too."""
MAX_CALLER = 256
"""Characters of a caller's identity."""

_CLIENT = frozenset(("downstream_connection_termination", "downstream_remote_reset"))
_REASONS = (
    (("upstream_connection_termination", "upstream_remote_reset", "upstream_protocol_error"), "upstream_reset"),
    (
        ("upstream_request_timeout", "stream_idle_timeout", "upstream_max_stream_duration_reached", "duration_timeout"),
        "upstream_timeout",
    ),
    (
        (
            *("upstream_connection_failure", "no_healthy_upstream", "upstream_overflow", "no_cluster_found"),
            "dns_resolution_failure",
        ),
        "upstream_unreachable",
    ),
    (("overload_manager",), "overloaded"),
    (("local_reset",), "upstream_reset"),
)
"""Flags of Envoy's, and the reason that they stand for; the first that is set counts."""
_AFTER_THE_STATUS = {"upstream_reset": "upstream_broke_off", "upstream_timeout": "upstream_stalled"}
"""Reasons where the answer had begun: its status does not tell of the failure."""


def account(snapshot: Snapshot, logged: LoggedRequest) -> tuple[RequestAccount | Fault, ...]:
    """The request's account, and a fault where it went elsewhere than decided. Empty for what
    ``counts_by_itself``.
    """
    metadata = logged.metadata
    if counts_by_itself(str(logged.code), metadata):
        return ()
    decided = metric_labels(snapshot, metadata)
    cluster = logged.cluster.removesuffix("#grpc")
    as_decided = not cluster or not metadata.get("policy") or cluster in _expected(metadata)
    labels = decided if as_decided and metadata.get("policy") else _labels(snapshot, decided, cluster)
    one = RequestAccount(
        labels.model,
        labels.version,
        labels.gpu_pool,
        labels.api,
        str(logged.code),
        logged.seconds if cluster else None,
        cohort=metadata.get("cohort", "") if as_decided else "",
        policy=labels.policy,
        caller=logged.caller[:MAX_CALLER],
        failure=failure(logged),
    )
    return (one,) if as_decided else (one, Fault("not_as_decided"))


def counts_by_itself(code: str, metadata: Mapping[str, str]) -> bool:
    """Whether it opened a session of a realtime API that is observed: the answers within it count, and it does not."""
    session = code == "101" and is_session(metadata.get("api", ""), metadata.get("operation", ""))
    return session and metadata.get(OBSERVE) != LEFT_OUT


def failure(logged: LoggedRequest) -> str:
    """One of ``notes.FAILURES``, by Envoy's response flags; empty where the exchange ended as it should."""
    flags = logged.flags
    if not flags:
        return ""
    begun = 200 <= logged.code < 500
    for names, reason in _REASONS:
        if not all(name not in flags for name in names):
            return _AFTER_THE_STATUS.get(reason, reason) if begun else reason
    return "client_left" if not _CLIENT.isdisjoint(flags) else ""


def _expected(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Names of clusters to which the decision led. By their names, since policies may have changed meanwhile: that of
    the target; that of a policy without versions, whose version is the one that the request names; that of the policy
    alone, where a mesh behind this Envoy chooses by the headers.
    """
    policy, version, pool = (metadata.get(key, "") for key in ("policy", "version", "gpu_pool"))
    return Target(policy, version, pool, ()).cluster, Target(policy, "", pool, ()).cluster, policy


def _labels(snapshot: Snapshot, decided: MetricLabels, cluster: str) -> MetricLabels:
    """The labels of the cluster's target; version and pool are ``NONE`` where no policy has the cluster."""
    target = snapshot.target_by_cluster.get(cluster)
    if target is None:
        return decided._replace(version=NONE, gpu_pool=NONE)
    model = decided.model if decided.policy == target.policy else OTHER
    return decided._replace(
        model=model, version=target.version or NONE, gpu_pool=target.pool or NONE, policy=target.policy
    )
