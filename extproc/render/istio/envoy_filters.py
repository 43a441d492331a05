"""EnvoyFilters: our filters in the proxies of the mesh, enabled for the policies' hosts only.

What all patches rely on:

- They are inserted before ``envoy.filters.http.grpc_stats``, which Istio has in every HTTP filter chain: behind all
  authentication, so that no unauthenticated request reaches the processor (for Envoy's answers to these see
  ``admission``), and before filters that depend on the route. (``ADD`` appends behind the router, which Envoy rejects;
  Istio ignores ``filterClass``; directly before the router is too late.)
- A client's routing headers are removed by an early header mutation: filters run only after the first route is chosen.
- Filters have names of their own: Istio's InferencePool overrides ``envoy.filters.http.ext_proc`` by that name.
- A merged list is appended: the access logs that Istio's Telemetry configures stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from extproc import headers
from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.envoy.client_headers import strip_client_headers
from extproc.render.envoy.clusters import processor_cluster
from extproc.render.envoy.connection_manager import REQUEST_TIMEOUT
from extproc.render.envoy.envoy_options import (
    NAMESPACE,
    OBSERVE_FILTER,
    ROUTE_FILTER,
    request_mode,
    typed,
)
from extproc.render.envoy.filters import load_report_filter, observe_filter, reads_load_headers, route_filter
from extproc.render.envoy.local_replies import local_replies_in_mesh
from extproc.render.envoy.response_headers import response_headers, response_headers_filter
from extproc.render.envoy.routes import body_buffer
from extproc.render.istio.account_log import account_log
from extproc.render.istio.admission import (
    ADMITTED_FILTER,
    MARKING,
    SAMPLED_FILTER,
    admitted_filter,
    if_admitted,
    if_admitted_and_sampled,
    sampled_filter,
)
from extproc.render.istio.destinations import apex_ports
from extproc.render.istio.ejections import ejection_patches
from extproc.render.istio.istio_options import IstioOptions, manifest, namespace, part_name, part_of, slug
from extproc.render.istio.picked_servers import picking_patches
from extproc.render.istio.provenance import METADATA, metadata
from extproc.render.istio.upstreams import credential_patches
from extproc.render.istio.virtual_services import GRPC, catch_all, default_route, gateway_hosts, policies_by_host

ENVOY_FILTER = "EnvoyFilter", "networking.istio.io/v1alpha3"
ANCHOR = "envoy.filters.http.grpc_stats"

MAX_PATCHES = 400
"""Of hosts, in one object. One has some 1,200 bytes, an object at most 1.5 MiB (etcd)."""

_MANAGER = "envoy.filters.network.http_connection_manager"
_PRIORITY = 10
_REFERENCED = "envoyfilter.istio.io/referenced-services"
CLIENT_HEADERS = "ai.istio.io/client-headers"
"""Annotation for `extproc check --istio`: the routing header that clients may send, a pin that the processor checks."""
_TYPE = "type.googleapis.com/envoy"
_MUTATION = "extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
_HEADER_KEYS = ((headers.MODEL_NAME, "model"), (headers.MODEL_VERSION, "version"), (headers.GPU_POOL, "gpu_pool"))


def envoy_filters(snapshot: Snapshot, options: IstioOptions) -> list[Doc]:
    """One for each kind of proxy and namespace; of very many hosts, others enable the filters for some each."""
    make = _Filters(snapshot, options)
    found: list[Doc] = []
    if not snapshot.policies:
        return found
    if "gateway" in options.proxies:
        found += make.gateway()
    homes = list(dict.fromkeys(namespace(policy, options) for policy in snapshot.policies))
    if "sidecar" in options.proxies:
        for where in [options.callers] if options.callers else homes:
            found += make.sidecar(where)
    if "waypoint" in options.proxies:
        found += [make.waypoint(where) for where in homes]
    if "inbound" in options.proxies:
        found += [make.inbound(policy) for policy in snapshot.policies if policy.selector]
    return found


class _Filters:
    """Builds the EnvoyFilters of a snapshot."""

    def __init__(self, snapshot: Snapshot, options: IstioOptions) -> None:
        self._snapshot = snapshot
        self._options = options
        self._provenance = {"key": METADATA, "value": metadata(snapshot, options)}
        self._route = self._with_provenance(route_filter(snapshot, options.envoy))
        if not options.since("1.30"):
            del self._route["typed_config"]["allow_content_length_header"]
        observe = observe_filter(snapshot, options.envoy, accounted=True)
        self._observe = if_admitted_and_sampled(self._with_provenance(observe))
        self._load_filters = [load_report_filter()] if reads_load_headers(snapshot) else []
        self._apex_ports = apex_ports(snapshot, options)
        self._pins = any(policy.allow_pin for policy in snapshot.policies)

    def gateway(self) -> list[Doc]:
        """For the ingress gateway."""
        where, _, _ = self._options.gateway.partition("/")
        everyone = catch_all(self._snapshot, self._snapshot.policies)
        hosts = self._of_clusters("GATEWAY")
        for host in gateway_hosts(self._snapshot, self._options):
            hosts[host] += self._enable("GATEWAY", {"domainName": host}, everyone)
        patches = [*self._clusters("GATEWAY"), *self._credentials("GATEWAY"), *self._chain("GATEWAY", {})]
        return self._manifests("aimesh-gateway", where, patches, hosts, _workload(self._options.gateway_labels))

    def sidecar(self, where: str) -> list[Doc]:
        """For clients' sidecars, which choose the subset; on the ports of models, for their hosts only."""
        context, snapshot = "SIDECAR_OUTBOUND", self._snapshot
        patches = [*self._clusters(context), *self._credentials(context)]
        for port in self._ports(snapshot.policies):
            patches += self._chain(context, {"portNumber": port})
        hosts = self._of_clusters(context)
        for host, mine in policies_by_host(self._snapshot, self._options).items():
            for port in self._ports(mine):
                hosts[host] += self._enable(context, {"name": f"{host}:{port}"}, catch_all(snapshot, mine))
        return self._manifests("aimesh-sidecar", where, patches, hosts, {})

    def waypoint(self, where: str) -> Doc:
        """For a waypoint (ambient mode). It has virtual hosts by address, not by host: the filters are enabled for all
        of its services, and requests for no model pass unmatched. Where a VirtualService makes its routes, istiod
        patches none of them (``buildWaypointInboundHTTPRouteConfig``), nor virtual hosts.
        """
        context = "SIDECAR_INBOUND"
        limit = {"per_connection_buffer_limit_bytes": body_buffer(self._snapshot, self._options.body)}
        listener = {"listener": {"name": "main_internal"}}
        patches = [*self._clusters(context), *self._credentials(context)]
        patches.append(_patch("LISTENER", context, listener, "MERGE", limit))
        patches += self._chain(context, {}, everywhere=True)
        gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": self._options.waypoint}
        return self._manifest("aimesh-waypoint", where, patches, {"targetRefs": [gateway]})

    def inbound(self, policy: Policy) -> Doc:
        """For model servers' sidecars, to time requests that are already routed. The routing headers become dynamic
        metadata for ``aimesh.observe``, which finds the API by method and path.
        """
        rules = [
            {"header": name, "on_header_present": {"metadata_namespace": NAMESPACE, "key": key, "type": "STRING"}}
            for name, key in _HEADER_KEYS
        ]
        owner = {"metadata_namespace": NAMESPACE, "key": "policy", "value": policy.name, "type": "STRING"}
        header_metadata = typed(
            "aimesh.headers",
            "extensions.filters.http.header_to_metadata.v3.Config",
            request_rules=[*rules, {"header": ":method", "on_header_present": owner}],
        )
        context = "SIDECAR_INBOUND"
        observe = if_admitted(self._with_provenance(observe_filter(self._snapshot, self._options.envoy, alone=True)))
        filters = [_before(context, {}, each) for each in (admitted_filter(), header_metadata, observe)]
        patches = [*self._clusters(context), *filters]
        where = namespace(policy, self._options)
        return self._manifest(f"aimesh-inbound-{slug(policy.name)}", where, patches, _workload(policy.selector))

    def _with_provenance(self, filter_: Doc) -> Doc:
        """``filter_`` with gRPC metadata that says what it was rendered from."""
        filter_["typed_config"]["grpc_service"].setdefault("initial_metadata", []).append(self._provenance)
        return filter_

    def _chain(self, context: str, listener: Doc, *, everywhere: bool = False) -> list[Doc]:
        """Our filters in a filter chain: disabled until a host enables them, or enabled ``everywhere``."""
        filters = [admitted_filter(), *self._load_filters, self._route, sampled_filter(), self._observe]
        if everywhere:
            filters.append(response_headers_filter())
        else:
            filters = [{"name": each["name"], "disabled": True, **each} for each in filters]
        return [self._connection_manager(context, listener), *(_before(context, listener, each) for each in filters)]

    def _connection_manager(self, context: str, listener: Doc) -> Doc:
        manager = typed(
            "",
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            early_header_mutation_extensions=[strip_client_headers(self._snapshot)],
            # Istio sets neither a request timeout nor a stream idle timeout: a client that stops or trickles in
            # mid-request would keep the processor's stream open for ever.
            request_timeout=REQUEST_TIMEOUT,
            access_log=[account_log(self._options)],
            local_reply_config={"mappers": local_replies_in_mesh()},
        )
        del manager["name"]
        match = {"listener": {**listener, "filterChain": {"filter": {"name": _MANAGER}}}}
        return _patch("NETWORK_FILTER", context, match, "MERGE", manager)

    def _enable(self, context: str, vhost: Doc, default: Policy) -> list[Doc]:
        """Patches that enable the filters for one virtual host."""
        on = {name: _filter_config(f"{_TYPE}.{MARKING}") for name in (ADMITTED_FILTER, SAMPLED_FILTER)}
        on |= {name: _per_route({}) for name in (ROUTE_FILTER, OBSERVE_FILTER)}
        on |= {each["name"]: _filter_config(f"{_TYPE}.{_MUTATION}", mutations={}) for each in self._load_filters}
        match = {"routeConfiguration": {"vhost": vhost}}
        patch = _patch("VIRTUAL_HOST", context, match, "MERGE", {"typed_per_filter_config": on, **self._virtual_host()})
        return [patch, *self._grpc_default_route(context, vhost, default)]

    def _grpc_default_route(self, context: str, vhost: Doc, policy: Policy) -> list[Doc]:
        """Streams the bodies of gRPC calls, which can't be buffered: by the route that they have before the processor
        answers, since the filter takes its per-route configuration from the first route.
        """
        if self._options.body == "streamed":
            return []
        streamed = {ROUTE_FILTER: _per_route({"processing_mode": request_mode("STREAMED")})}
        match = {"routeConfiguration": {"vhost": {**vhost, "route": {"name": f"{default_route(policy)}-{GRPC}"}}}}
        return [_patch("HTTP_ROUTE", context, match, "MERGE", {"typed_per_filter_config": streamed})]

    def _ports(self, policies: Sequence[Policy]) -> list[int]:
        """Ports by which sidecars know requests for these policies."""
        return list(dict.fromkeys(port for policy in policies for port in self._apex_ports[policy.name]))

    def _virtual_host(self) -> Doc:
        """Fields of a virtual host other than routes and filters."""
        return {"request_body_buffer_limit": body_buffer(self._snapshot, self._options.body), **response_headers()}

    def _clusters(self, context: str) -> list[Doc]:
        """A patch that adds the processor's cluster, where it is no Service of the mesh."""
        if self._options.service is not None:
            return []
        return [_patch("CLUSTER", context, {}, "ADD", processor_cluster(self._options.envoy))]

    def _credentials(self, context: str) -> list[Doc]:
        return list(credential_patches(self._snapshot, self._options, context))

    def _of_clusters(self, context: str) -> defaultdict[str, list[Doc]]:
        """By host, the patches by which requests go to the servers that are picked, or come back to those ejected."""
        found = defaultdict(list)
        for make in (picking_patches, ejection_patches):
            for host, patch in make(self._snapshot, self._options, context):
                found[host].append(patch)
        return found

    def _manifests(
        self, name: str, where: str, patches: Sequence[Doc], hosts: Mapping[str, Sequence[Doc]], to: Doc
    ) -> list[Doc]:
        """``hosts``: patches of one host each, which need nothing of one another."""
        if sum(map(len, hosts.values())) <= MAX_PATCHES:
            return [self._manifest(name, where, [*patches, *chain.from_iterable(hosts.values())], to)]
        parts: dict[int, list[Doc]] = defaultdict(list)
        for host, enabling in hosts.items():
            parts[part_of(host)] += enabling
        divided = [self._manifest(part_name(name, part), where, mine, to) for part, mine in sorted(parts.items())]
        return [self._manifest(name, where, patches, to), *divided]

    def _manifest(self, name: str, where: str, patches: Sequence[Doc], to: Doc) -> Doc:
        annotations = {}
        if self._options.service is not None:
            host, _ = self._options.service
            # Without it Istio may omit the cluster, as no route names it.
            annotations[_REFERENCED] = f"{host.split('.')[1]}/{host}"
        strips = any(patch["applyTo"] == "NETWORK_FILTER" for patch in patches)
        if strips and self._pins:
            annotations[CLIENT_HEADERS] = headers.MODEL_VERSION
        spec = {"priority": _PRIORITY, **to, "configPatches": list(patches)}
        return manifest(*ENVOY_FILTER, name, where, spec, **annotations)


def _workload(labels: Iterable[tuple[str, str]]) -> Doc:
    return {"workloadSelector": {"labels": dict(labels)}}


def _before(context: str, listener: Doc, filter_: Doc) -> Doc:
    chain = {"filter": {"name": _MANAGER, "subFilter": {"name": ANCHOR}}}
    return _patch("HTTP_FILTER", context, {"listener": {**listener, "filterChain": chain}}, "INSERT_BEFORE", filter_)


def _patch(apply_to: str, context: str, match: Doc, operation: str, value: Doc) -> Doc:
    return {
        "applyTo": apply_to,
        "match": {"context": context, **match},
        "patch": {"operation": operation, "value": value},
    }


def _per_route(overrides: Doc) -> Doc:
    """Enables an ext_proc filter, with ``overrides`` of its configuration."""
    return _filter_config(f"{_TYPE}.extensions.filters.http.ext_proc.v3.ExtProcPerRoute", overrides=overrides)


def _filter_config(kind: str, **config: Doc) -> Doc:
    return {"@type": f"{_TYPE}.config.route.v3.FilterConfig", "config": {"@type": kind, **config}}
