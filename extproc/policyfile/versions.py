"""``versions`` of a policy: weights, endpoints, matches, mirrors."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.policy.snapshot import NONE, OTHER, HeaderMatch, Version
from extproc.policyfile import load_balancer, upstreams, values
from extproc.policyfile.fields import Field, suggestion
from extproc.yamldoc import Mapping, Scalar

MAX_WEIGHT = 1_000_000
_EXCLUDED_BY_MIRROR = {
    "weight": "has no share of the requests: it gets copies",
    "match": "is never chosen: it gets copies",
    "modelRewrite": "gets the very request that the answering version gets",
    "pathRewrite": "gets the very request that the answering version gets",
    "inferencePool": "gets its copies from the proxy, which asks nobody for an endpoint",
}


def read(field: Field, rolled_out: str = "") -> tuple[Version, ...]:
    """The versions in the list ``field``. ``rolled_out``: the name of that whose weight a rollout says."""
    versions = field.named(_version, "version", minimum=1)
    if not versions:
        return ()
    items = [item for item in field.items() if isinstance(item.node, Mapping)]
    _check_weights(field, [item for item in items if not rolled_out or _name(item) != rolled_out])
    if field.clean:
        _check_matches(items, versions)
        if all(version.mirror for version in versions):
            field.error("every version is a mirror: nobody answers the clients", "declare a version that answers")
        elif not any(version.weight for version in versions):
            field.error("every weight is 0: no version can be drawn", "give one version a weight above 0")
    return versions


def _name(item: Field) -> str:
    node = item.at("name").node
    return node.text if isinstance(node, Scalar) else ""


def _version(field: Field) -> Version | None:
    known = ("name", "weight", "modelRewrite", "match", "gpuPools", "mirror", "loadBalancer", "inferencePool")
    fields = field.fields(*known, *upstreams.FIELDS)
    if fields is None:
        return None
    name = fields.required("name", values.name, "name the version: name: v1")
    if name in (NONE, OTHER):
        field.at("name").warn(f"metrics use the word {name} for what has no version of its own", "choose another name")
    mirror = fields.optional("mirror", lambda f: f.integer(1, 100), 0)
    for choice, why in _EXCLUDED_BY_MIRROR.items():
        if mirror and choice in fields:
            field.at(choice).error(f"a mirror {why}", f"remove {choice}, or remove mirror")
    servers = upstreams.read(fields)
    pool = fields.optional("inferencePool", _inference_pool, "")
    if "inferencePool" in fields and (servers.endpoints or servers.grpc_endpoints):
        field.at("inferencePool").error("says what the endpoints are, and there are others", "remove one of the two")
    return Version(
        name or "",
        fields.optional("weight", lambda f: f.integer(0, MAX_WEIGHT), int(not mirror)),
        servers.endpoints,
        fields.optional("modelRewrite", values.model_name, ""),
        fields.optional("match", _matches, ()),
        fields.optional("gpuPools", lambda f: f.distinct(values.name, "pool", minimum=1), None),
        mirror,
        servers.upstream,
        servers.grpc_endpoints,
        fields.optional("loadBalancer", load_balancer.read, None),
        pool,
    )


def _inference_pool(field: Field) -> str | None:
    """Whose pods are the endpoints; ``kubernetes.pools_as_policies`` writes these instead, where they are known."""
    fields = field.fields("name", "matchLabels")
    if fields is None:
        return None
    name = fields.required("name", values.object_name, "name the InferencePool: name: llama")
    fields.optional("matchLabels", values.labels, ())
    message = "is known to a processor that watches it; for any other the endpoint is the policy's host:port"
    field.warn(message, f"start extproc serve --kubernetes with --inference-pool NAMESPACE/{name or 'NAME'}")
    return name


def _matches(field: Field) -> tuple[HeaderMatch, ...] | None:
    if isinstance(field.node, Mapping):
        field.error("is not a list", "write a list: [{headers: {x-name: value}}]")
        return None
    return field.distinct(_match, "match", minimum=1)


def _match(field: Field) -> HeaderMatch | None:
    fields = field.fields("headers")
    headers = fields.required("headers", lambda f: f, "write headers: {x-name: value}") if fields else None
    if headers is None:
        return None
    values_by_name: dict[str, bytes] = {}
    for text, key, value in headers.entries():
        name = values.client_header(text, key)
        content = values.header_value(value)
        if name in values_by_name:
            key.error(f"the header {name} is there already (case does not matter)", "remove one of the two")
        if name is not None and content is not None:
            values_by_name[name] = content
    if headers.clean and not values_by_name:
        headers.error("names no header", "give the headers that force this version")
    return HeaderMatch(tuple(sorted(values_by_name.items()))) if values_by_name else None


def _check_weights(field: Field, items: Sequence[Field]) -> None:
    items = [item for item in items if not item.has("mirror")]
    without = [item for item in items if not item.has("weight")]
    if len(without) < len(items):
        for item in without:
            if _misspells_weight(item):
                continue
            item.error(
                "has no weight, and other versions have one",
                "give each one a weight; weight: 0 where only a match or a pin may choose it",
            )
    elif len(items) > 1:
        field.warn("no version has a weight: they share equally", "give each one a weight")


def _misspells_weight(item: Field) -> bool:
    """Whether that is noted already."""
    remedy = suggestion("weight", ["weight"])
    return any(one.remedy == remedy and one.path.startswith(f"{item.path}.") for one in item.problems)


def _check_matches(items: Sequence[Field], versions: Sequence[Version]) -> None:
    first: dict[HeaderMatch, str] = {}
    for item, version in zip(items, versions, strict=True):
        for i, match in enumerate(version.match):
            if match in first:
                message = f"the version {first[match]} has the same match and comes first"
                item.at("match", i).error(message, "remove one of the two")
            first.setdefault(match, version.name)
