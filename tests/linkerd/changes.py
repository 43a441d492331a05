"""Changes of a cluster that has what we rendered (``live_cluster.applied``), each under the name of what it does.

``break_…``: something is not in force afterwards. The others leave everything in force.
"""

from __future__ import annotations

from copy import deepcopy

from tests.linkerd.live_cluster import Doc, one


def break_kind(docs: list[Doc]) -> None:
    del one(docs, "HTTPRoute", "chat")["spec"]["parentRefs"][0]["kind"]


def break_status(docs: list[Doc]) -> None:
    conditions = one(docs, "HTTPRoute", "chat")["status"]["parents"][0]["conditions"]
    conditions[0] |= {"status": "False", "reason": "NoMatchingParent"}


def break_new(docs: list[Doc]) -> None:
    del one(docs, "HTTPRoute", "chat")["status"]


def break_one_of_two(docs: list[Doc]) -> None:
    """A status for each of two parents of one name; ours is the other."""
    route = one(docs, "HTTPRoute", "chat")
    (status,) = route["status"]["parents"]
    elsewhere = deepcopy(status)
    elsewhere["parentRef"]["port"] = 9090
    route["spec"]["parentRefs"].append(elsewhere["parentRef"])
    status["conditions"][0] |= {"status": "False", "reason": "NoMatchingParent"}
    route["status"]["parents"] = [elsewhere, status]


def break_filter(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["filters"] = [{"type": "RequestMirror", "requestMirror": {}}]


def break_regex(docs: list[Doc]) -> None:
    header = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]["headers"][0]
    header |= {"type": "RegularExpression", "value": "v(?=1)"}


def break_template(docs: list[Doc]) -> None:
    """A template of paths, where a pattern is wanted."""
    match = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]
    match["path"] = {"type": "RegularExpression", "value": "/v1/models/{model}/infer"}


def break_path(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]["path"] = {"type": "PathPrefix", "value": "v1"}


def break_header(docs: list[Doc]) -> None:
    headers = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]["matches"][0]["headers"]
    headers.append({"name": "x-team", "value": "Köln"})


def break_redirect(docs: list[Doc]) -> None:
    redirect = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "v1"}}
    rule = one(docs, "HTTPRoute", "chat")["spec"]["rules"][0]
    rule["filters"] = [{"type": "RequestRedirect", "requestRedirect": redirect}]


def break_retries(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["metadata"]["annotations"] = {"retry.linkerd.io/http": "502, 503"}


def break_timeout(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["metadata"]["annotations"] = {"timeout.linkerd.io/request": "5"}


def break_kind_of_status(docs: list[Doc]) -> None:
    """The status is about a Gateway that has the Service's name."""
    one(docs, "HTTPRoute", "chat")["status"]["parents"][0]["parentRef"] = {"name": "chat"}


def break_consumer(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["metadata"]["namespace"] = "elsewhere"


def break_shape(docs: list[Doc]) -> None:
    one(docs, "HTTPRoute", "chat")["spec"]["rules"] = {"not": "a list"}


def beside_gateway(docs: list[Doc]) -> None:
    """A Gateway of the Service's name, before it and with a status of its own controller's."""
    route = one(docs, "HTTPRoute", "chat")
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "chat"}
    route["spec"]["parentRefs"].insert(0, gateway)
    refused = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners"}
    route["status"]["parents"].insert(0, {"parentRef": gateway, "controllerName": "x/y", "conditions": [refused]})


def accepted_by_another(docs: list[Doc]) -> None:
    """Neither whose word a status is counts, nor the namespace in it."""
    (status,) = one(docs, "HTTPRoute", "chat")["status"]["parents"]
    status["controllerName"] = "example.com/other"
    status["parentRef"] = {"kind": "Service", "group": "", "name": "chat", "namespace": "elsewhere"}


def other_case(docs: list[Doc]) -> None:
    route = one(docs, "HTTPRoute", "chat")
    for ref in (route["spec"]["parentRefs"][0], *(b for r in route["spec"]["rules"] for b in r["backendRefs"])):
        ref |= {"kind": "service", "group": "Core"}


def annotation_of_another_kind(docs: list[Doc]) -> None:
    """Of GRPCRoutes, which Linkerd does not read here."""
    one(docs, "HTTPRoute", "chat")["metadata"]["annotations"] = {"retry.linkerd.io/grpc": "not at all"}


def profile_elsewhere(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["metadata"]["namespace"] = "third"


def profile_without_routes(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["spec"] = {"routes": [], "retryBudget": {}}


def profile_of_another(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["metadata"]["name"] = "chat.ai.svcs.example.com"


def break_protocol(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"]["ports"][0]["appProtocol"] = "grpc"


def break_opaque(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["metadata"]["annotations"] = {"config.linkerd.io/opaque-ports": "25,8000-8090"}


def break_headless(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"]["clusterIP"] = "None"


def break_port(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"]["ports"][0]["port"] = 80


def break_apex(docs: list[Doc]) -> None:
    docs.remove(one(docs, "Service", "chat"))


def break_profile(docs: list[Doc]) -> None:
    docs.append(
        {
            "apiVersion": "linkerd.io/v1alpha2",
            "kind": "ServiceProfile",
            "metadata": {"name": "chat.ai.svc.cluster.local", "namespace": "ai"},
            "spec": {"routes": [{"name": "all"}]},
        }
    )


def break_profile_of_client(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["metadata"]["namespace"] = "edge"


def break_overrides(docs: list[Doc]) -> None:
    break_profile(docs)
    docs[-1]["spec"] = {"dstOverrides": [{"authority": "chat-v1.ai.svc.cluster.local:8080"}]}


def break_opaque_http(docs: list[Doc]) -> None:
    break_opaque(docs)
    one(docs, "Service", "chat")["spec"]["ports"][0]["appProtocol"] = "http"


def break_external(docs: list[Doc]) -> None:
    one(docs, "Service", "chat")["spec"] |= {"type": "ExternalName", "externalName": "example.com"}


def break_grpc(docs: list[Doc]) -> None:
    route = one(docs, "HTTPRoute", "chat")
    docs.append({**deepcopy(route), "kind": "GRPCRoute", "metadata": {"name": "calls", "namespace": "ai"}})
