"""A document of kind ``GpuPool``: its GPUs, endpoints and load metrics."""

from __future__ import annotations

from extproc.policy import gpu
from extproc.policy.load_report import ORCA_SERVER_TYPES
from extproc.policy.metrics_page import PAGE_METRICS
from extproc.policy.snapshot import NONE, GpuPool
from extproc.policyfile import endpoints, load_balancer, quantities_and_durations, upstreams, values
from extproc.policyfile.fields import Field, Fields
from extproc.yamldoc import Scalar

SERVER_TYPES = tuple(PAGE_METRICS)
"""Types of model servers whose load can be read."""


def read(spec: Field | None, name: str, namespace: str = "") -> GpuPool:
    """The pool that ``spec`` declares; with defaults where it has errors."""
    known = ("product", "architecture", "memory", "nodeSelector", "locality", "cluster", "metrics", *upstreams.FIELDS)
    fields = spec.fields(*known, "allowedNamespaces", "loadBalancer") if spec else None
    if fields is None:
        return GpuPool(name, gpu.Gpu(), namespace=namespace)
    product = fields.optional("product", values.gpu_word, "")
    architecture = fields.optional("architecture", values.gpu_word, "")
    memory = fields.optional("memory", quantities_and_durations.memory, 0)
    node_selector = fields.optional("nodeSelector", _node_selector, ())
    if "product" not in fields and "architecture" not in fields:
        if "nodeSelector" in fields:
            remedy = "run `extproc controller`, or give product or architecture"
            fields.field.at("nodeSelector").warn(
                "nobody has read the labels of these nodes: its GPUs are unknown", remedy
            )
        else:
            remedy = (
                "give product (the node label nvidia.com/gpu.product) or architecture, or in Kubernetes nodeSelector"
            )
            fields.field.error("names neither product nor architecture", remedy)
    elif fields.field.clean:
        _check_gpu(fields, product, architecture, memory)
    if name == NONE:
        fields.field.warn(f"a pool named {NONE} looks in metrics like no pool", "choose another name")
    metrics_type, metrics_url, gpu_url = fields.optional("metrics", _load_metrics, ("", "", ""))
    servers = upstreams.read(fields)
    return GpuPool(
        name,
        gpu.describe(product, architecture, memory),
        servers.endpoints,
        fields.optional("locality", values.locality, ""),
        metrics_type,
        metrics_url,
        servers.upstream,
        node_selector,
        namespace,
        fields.optional("allowedNamespaces", _allowed_namespaces, ()),
        servers.grpc_endpoints,
        gpu_url,
        fields.optional("loadBalancer", load_balancer.read, None),
        fields.optional("cluster", values.name, ""),
    )


def _allowed_namespaces(field: Field) -> tuple[str, ...]:
    return field.distinct(_namespace_or_all, "namespace", minimum=1)


def _namespace_or_all(field: Field) -> str | None:
    every = isinstance(field.node, Scalar) and field.node.text == "*"
    return "*" if every else values.namespace(field)


def _node_selector(field: Field) -> tuple[tuple[str, str], ...]:
    entries = field.entries()
    if not entries and field.clean:
        field.error("selects every node", "give the labels of the pool's nodes, or remove it")
    pairs = [(values.label_key(text, key), values.label(value)) for text, key, value in entries]
    return tuple((key, value) for key, value in pairs if key is not None and value is not None)


def _check_gpu(fields: Fields, product: str, architecture: str, memory: int) -> None:
    by_product = gpu.describe(product)
    known = gpu.known_architecture(architecture) if architecture else bool(by_product.family)
    if not known:
        where = fields.field.at("architecture" if architecture else "product")
        remedy = "check the spelling (a100, hopper, 8.0)" if architecture else "give architecture and memory beside it"
        where.warn("is no GPU that is known: nothing follows from it", remedy)
    elif (
        product
        and architecture
        and gpu.short_name(product)
        and gpu.shortfall(by_product, _requirement_of(architecture))
    ):
        why = gpu.shortfall(by_product, _requirement_of(architecture))
        fields.field.at("architecture").error(f"contradicts the product, which {why}", "remove one of the two")
    if not memory and not gpu.describe(product, architecture).memory:
        fields.field.warn("the memory of this GPU is not known: it meets no minMemory", "give memory, as in 80Gi")


def _requirement_of(architecture: str) -> gpu.Requirement:
    return gpu.Requirement(architecture)


def _load_metrics(field: Field) -> tuple[str, str, str] | None:
    fields = field.fields("type", "url", "gpuUrl")
    if fields is None:
        return None
    kind = fields.required("type", lambda f: f.choice(*SERVER_TYPES), f"give one of {', '.join(SERVER_TYPES)}")
    gpu_url = fields.optional("gpuUrl", endpoints.url, "")
    if kind in ORCA_SERVER_TYPES:
        return kind or "", fields.optional("url", endpoints.url, ""), gpu_url
    return kind or "", fields.required("url", endpoints.url, "give the URL of the metrics page") or "", gpu_url
