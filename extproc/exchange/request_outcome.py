"""What became of a request, by Envoy's access log: where it went, how it ended, and whose failure it was."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from extproc.apis.answer_table import SESSIONS
from extproc.envoy.logged_request import LoggedRequest
from extproc.exchange.metric_labels import MetricLabels, metric_labels
from extproc.exchange.notes import REFUSALS, Fault, RequestAccount, Served
from extproc.exchange.sampling import end_share_told
from extproc.exchange.timed_answer import MAX_MODEL, served_by
from extproc.policy.decision import UNOWNED, USER, USER_LENGTH
from extproc.policy.snapshot import NONE, OTHER, Policy, Snapshot
from extproc.policy.target import Target

ACCOUNTED = ("x-aimesh-account", "access-log")
"""gRPC metadata of observed exchanges of which the access log tells, too."""
WENT_ELSEWHERE = "not_as_decided"
"""Reason in ``extproc_errors_total`` of requests that went elsewhere than decided."""
MESH_NAMESPACE = "x-aimesh-namespace"
"""gRPC metadata key of an access log whose clusters have Istio's names: the namespace of policies that name none."""
MAX_CALLER = 256
"""Characters of a caller's identity."""
REQUEST_ID = "x-request-id"
MAX_REQUEST_ID = 64
"""Characters; Envoy's own have 36."""
MAX_SECONDS = 7 * 24 * 3600
"""Longest duration that counts; what is longer is no duration of an answer."""

MAX_PLACES = 10_000
"""Decisions and clusters for which it is remembered where their requests went."""
MAX_PLACE = 1_000
"""Characters of one of them."""

_DECIDED = ("policy", "version", "gpu_pool", "api", "model", "cohort")
"""Keys of the metadata that tell where a request was to go."""
_REASONS = (
    (("upstream_connection_termination", "upstream_remote_reset", "upstream_protocol_error"), "upstream_reset"),
    (("upstream_request_timeout", "upstream_max_stream_duration_reached", "duration_timeout"), "upstream_timeout"),
    (
        (
            *("upstream_connection_failure", "no_healthy_upstream", "upstream_overflow", "no_cluster_found"),
            "dns_resolution_failure",
        ),
        "upstream_unreachable",
    ),
    (("overload_manager",), "overloaded"),
    (("local_reset",), "upstream_reset"),
    (("downstream_connection_termination", "downstream_remote_reset", "downstream_protocol_error"), "client_left"),
    (("stream_idle_timeout",), "idle"),
)
"""Flags of Envoy's, and the reason that they stand for; the first that is set counts."""
_UNCONNECTED = "upstream_connection_failure"
_ANSWERED = {"upstream_reset": "upstream_broke_off", "upstream_timeout": "upstream_stalled"}
"""Reasons where the answer had begun: its status does not tell of the failure."""
_AFTER_ANSWER = frozenset(_ANSWERED.values())
_UNANSWERED = frozenset(("upstream_reset", "upstream_timeout", "upstream_unreachable", "overloaded"))


class Accounts:
    """Of requests that have ended, by the policies in force."""

    def __init__(self, snapshot: Snapshot, targets: Mapping[str, Sequence[Target]]) -> None:
        """``targets``: those that there are and have been, by the cluster that leads to them."""
        self._snapshot, self.targets = snapshot, targets
        self._places: dict[tuple[str, ...], _Place] = {}
        """By what they are made of: decisions repeat."""

    def of(
        self, logged: LoggedRequest, observed_failures: Container[str] = ()
    ) -> tuple[RequestAccount | Fault | Served, ...]:
        """The request's account, and a fault where it went elsewhere than decided; of one whose endpoint was picked,
        who served it. Empty for what ``counts_by_itself``.

        ``observed_failures``: ids of requests whose answers have told of a failure already.
        """
        metadata, code = logged.metadata, _code(logged.code)
        if counts_by_itself(code, metadata):
            return ()
        place = self._place(logged.cluster, metadata)
        labels, policy = place.labels, place.policy
        request_id = logged.request_id[:MAX_REQUEST_ID]
        reason = failure(logged, observed=policy is None or policy.sampling != 0) if logged.flags else ""
        if reason in _AFTER_ANSWER and request_id in observed_failures:
            reason = ""
        picked = logged.picked and policy is not None and policy.picking is not None
        timed = logged.cluster and code != "101" and 0 <= logged.seconds <= MAX_SECONDS
        one = RequestAccount(
            labels.model,
            labels.version,
            labels.gpu_pool,
            labels.api,
            code,
            logged.seconds if timed else None,
            place.cohort,
            labels.policy,
            logged.caller[:MAX_CALLER],
            reason,
            metadata.get("model", "")[:MAX_MODEL],
            metadata.get("operation", ""),
            request_id,
            end_share_told(metadata) > 0,
            metadata.get(USER, "")[:USER_LENGTH],
            logged.refusal if logged.refusal in REFUSALS else "",
            logged.served if picked else "",
        )
        notes = (one,) if place.as_decided else (one, Fault(WENT_ELSEWHERE))
        return (*notes, _served(logged, place.decided)) if picked else notes

    def _place(self, cluster: str, metadata: Mapping[str, str]) -> _Place:
        key = (cluster, *[metadata.get(name, "") for name in _DECIDED])
        place = self._places.get(key)
        if place is None:
            place = _place(self._snapshot, cluster.partition("#")[0], metadata, self.targets)
            if sum(map(len, key)) <= MAX_PLACE:
                if len(self._places) >= MAX_PLACES:
                    self._places.clear()
                self._places[key] = place
        return place


class _Place(NamedTuple):
    """Where a request went."""

    labels: MetricLabels
    decided: MetricLabels
    """Those of the decision."""
    as_decided: bool
    cohort: str
    """Empty where the request went elsewhere than decided."""
    policy: Policy | None


def _place(
    snapshot: Snapshot, cluster: str, metadata: Mapping[str, str], targets: Mapping[str, Sequence[Target]]
) -> _Place:
    decided = metric_labels(snapshot, metadata)
    expected, reached = _expected(metadata), targets.get(cluster, ())
    meant = next((target for target in reached if target.cluster in expected), None)
    as_decided = not cluster or not metadata.get("policy") or cluster in expected or meant is not None
    target = meant or next(iter(reached), None)
    if metadata.get("cohort") == UNOWNED:  # whose servers answered says nothing of it
        labels = decided
    elif as_decided and metadata.get("policy"):
        labels = _renewed(decided, target)
    else:
        labels = _labels(decided, target)
    as_decided = as_decided or _stood_in(snapshot, metadata, target)
    cohort = metadata.get("cohort", "") if as_decided else ""
    return _Place(labels, decided, as_decided, cohort, snapshot.by_name.get(decided.policy))


def picked_endpoint(snapshot: Snapshot, logged: LoggedRequest) -> str:
    """The endpoint that was picked for the request; empty where its policy picks none."""
    policy = snapshot.by_name.get(logged.metadata.get("policy", "")) if logged.picked else None
    return logged.picked.partition(",")[0] if policy is not None and policy.picking is not None else ""


def could_not_be_reached(logged: LoggedRequest) -> bool:
    """Whether the endpoint that was picked could not: Envoy went on to another one, or failed to connect. It looks at
    no health of picked endpoints (envoyproxy/envoy, override_host/load_balancer.cc), so that each request tries it.
    """
    first = logged.picked.partition(",")[0]
    return logged.served not in ("", first) or (logged.served == first and _UNCONNECTED in logged.flags)


def _served(logged: LoggedRequest, decided: MetricLabels) -> Served:
    by = served_by(logged.picked.split(","), logged.served)
    return Served(decided.policy, decided.version, decided.gpu_pool, by)


def counts_by_itself(code: str, metadata: Mapping[str, str]) -> bool:
    """Whether it opened a session of a realtime API: the answers within it count, and it does not."""
    return code == "101" and (metadata.get("api", ""), metadata.get("operation", "")) in SESSIONS


def failure(logged: LoggedRequest, *, observed: bool = True) -> str:
    """One of ``notes.FAILURES``, by Envoy's response flags; empty where the exchange ended as it should.

    A WebSocket ends by a closed connection, whoever closes it. Calls of gRPC have the status 200 also where Envoy
    answers for a server that it could not reach: the observer sees what that answer says, of all such calls or of a
    sample that stands for them. Only where no answer of the policy is ``observed`` is it told here.
    """
    flags = logged.flags
    if not flags or logged.code == 101:
        return ""
    reason = next((reason for names, reason in _REASONS if not set(names).isdisjoint(flags)), "")
    if reason == "idle" and not logged.answered:
        return "client_stalled" if logged.code == 408 else "upstream_timeout"
    if logged.answered:
        return _ANSWERED.get(reason, reason)
    if reason in _UNANSWERED and 0 < logged.code < 500:
        return "" if observed else "no_answer"
    return reason


def _code(code: int) -> str:
    return str(code) if code == 0 or 100 <= code <= 599 else OTHER


def _expected(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Clusters (``Target.cluster``) to which the decision led. By their names, since policies may have changed
    meanwhile: that of the target; that of a policy without versions, whose version is the one that the request names;
    that of the policy alone, where a mesh behind this Envoy chooses by the headers.
    """
    policy, version, pool = (metadata.get(key, "") for key in ("policy", "version", "gpu_pool"))
    return Target(policy, version, pool, ()).cluster, Target(policy, "", pool, ()).cluster, policy


def _stood_in(snapshot: Snapshot, metadata: Mapping[str, str], target: Target | None) -> bool:
    """Whether Envoy went to a farther pool of the version since it could not reach the one that was decided."""
    decided = metadata.get("policy", ""), metadata.get("version", "")
    reached = (target.policy, target.version) if target else None
    return reached in (decided, (decided[0], "")) and len(snapshot.tiers.get(reached, ())) > 1


def _renewed(decided: MetricLabels, target: Target | None) -> MetricLabels:
    """What was decided, by the names of the target where the policy has them no longer, or has gone itself."""
    if target is None or OTHER not in (decided.version, decided.gpu_pool, decided.policy):
        return decided
    return decided._replace(version=target.version or decided.version, gpu_pool=target.pool or decided.gpu_pool)


def _labels(decided: MetricLabels, target: Target | None) -> MetricLabels:
    """The labels of the target; version and pool are ``NONE`` where there is none."""
    if target is None:
        return decided._replace(version=NONE, gpu_pool=NONE)
    model = decided.model if decided.policy == target.policy else OTHER
    return decided._replace(
        model=model, version=target.version or NONE, gpu_pool=target.pool or NONE, policy=target.policy
    )
