"""EnvoyFilter: the access log by which the processor counts requests, and the observer that says that it is there."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.exchange.request_outcome import ACCOUNTED
from extproc.lint.envoy_filter_patches import GRPC_ACCESS_LOG, Patch, Processor, typed
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh

NO_LOG = Rule(
    "AIM182",
    "error",
    "an observer that leaves counting to an access log which is not there",
    "Its gRPC metadata say `x-aimesh-account: access-log`, so the processor counts by Envoy's access log, and what it "
    "observes adds nothing to `inference_requests_total`: no request is counted.",
    "MERGE access_log with envoy.access_loggers.http_grpc to the observer's cluster into the connection manager, or "
    "remove the metadata",
)
COUNTED_TWICE = Rule(
    "AIM183",
    "error",
    "an access log to the processor beside an observer that counts as well",
    "The processor counts the entries of the log, and what the observer shows unless its gRPC metadata say "
    "`x-aimesh-account: access-log`: every request is two.",
    "add the metadata to the observer's grpc_service: initial_metadata: [{key: x-aimesh-account, value: access-log}]",
)
EVERY_REQUEST = Rule(
    "AIM184",
    "warning",
    "an access log to the processor of hosts that it is not asked about",
    "The observer is on for some hosts only; the log has no filter, so the requests of all others count as requests "
    "for no model.",
    "log what our filters have seen: filter: {extension_filter: …} with the CEL expression "
    "`'aimesh.admitted' in filter_state`",
)
RULES = (NO_LOG, COUNTED_TWICE, EVERY_REQUEST)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Each observer of ours with the access logs of its listeners."""
    for observer in mesh.processors:
        if not observer.observes or not observer.cluster:
            continue
        said = _says_accounted(observer)
        logs = [log for patch in mesh.patches if _same_listener(patch, observer) for log in _logs(patch, observer)]
        if said and not logs:
            yield said.breaks(NO_LOG)
        if logs and not said and observer.name.startswith("aimesh."):
            yield logs[0].breaks(COUNTED_TWICE)
        if observer.patch.value.at("disabled").flag:
            yield from (log.breaks(EVERY_REQUEST) for log in logs if not log.at("filter"))


def _says_accounted(observer: Processor) -> Value | None:
    pairs = observer.config.at("grpc_service", "initial_metadata").items
    return next((pair for pair in pairs if (pair.at("key").text, pair.at("value").text) == ACCOUNTED), None)


def _same_listener(patch: Patch, observer: Processor) -> bool:
    """Whether ``patch`` changes the connection manager in which the observer stands, as far as can be told."""
    if patch.apply_to != "NETWORK_FILTER" or not patch.meets(observer.patch):
        return False
    ports = {each.root.at("match", "listener", "portNumber").text for each in (patch, observer.patch)}
    return len(ports - {""}) <= 1 and patch.resource.namespace == observer.patch.resource.namespace


def _logs(patch: Patch, observer: Processor) -> Iterator[Value]:
    """The access logs that ``patch`` adds at the observer's cluster."""
    for log in patch.config.at("access_log").items:
        written = typed(log.at("typed_config"))
        service = written.config.at("common_config", "grpc_service", "envoy_grpc", "cluster_name")
        if written.name == GRPC_ACCESS_LOG and service.text == observer.cluster.text:
            yield log
