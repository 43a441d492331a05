"""All resources of one check together, found by what others name them by."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property

from extproc import headers
from extproc.errors import Problem
from extproc.lint import manifest
from extproc.lint.envoy_filter_patches import (
    FILTER_CONFIG,
    PER_ROUTE,
    ROUTES,
    Patch,
    Processor,
    patches,
    sees_requests,
    typed,
)
from extproc.lint.extension_filters import Extension, filters
from extproc.lint.manifest import Resource, Value

DEFAULT_NAMESPACE = "default"
"""Of manifests that name none, as with kubectl."""
_FIELDS = ("apiVersion", "kind", "metadata", "spec")
"""A document with none of these is something else, as the values of a chart, and is left out."""
_ROUTING_PREFIXES = ("x-model-", "x-gpu-", "x-ai-")
_MODEL_PREFIXES = (
    *("vllm", "llm", "llama", "ollama", "mistral", "mixtral", "qwen", "gemma", "deepseek", "gpt", "falcon", "whisper"),
    *("triton", "sglang", "kserve", "openai", "huggingface", "lmdeploy", "inference", "embedding", "rerank"),
)
"""How words begin in the names of model servers."""
_MODEL_WORDS = ("model", "models", "tgi", "tei", "phi", "bert", "nim", "predictor", "completions")
"""Those that are too short or too common to tell by their beginning."""


def routing(header: str) -> bool:
    """Whether ``header`` is one that a processor sets and routes follow."""
    return header.lower() in headers.ROUTING or header.lower().startswith(_ROUTING_PREFIXES)


def fqdn(host: str, namespace: str) -> str:
    """A host as Istio reads it in a resource of ``namespace``: names without a dot are Services beside it."""
    return host if "." in host or host == "*" or not host else f"{host}.{namespace}.svc.cluster.local"


def covers(pattern: str, host: str) -> bool:
    """Whether ``pattern``, ``*.example.com`` or a whole name, stands for ``host``."""
    return pattern in (host, "*") or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def read(sources: Iterable[tuple[str, str]]) -> tuple[list[Resource], list[Problem]]:
    """The resources in ``sources``, pairs of (name, text), those of Lists too, and what is wrong with them as YAML.

    Documents that are no manifests are left out.
    """
    found: list[Resource] = []
    problems: list[Problem] = []
    for name, text in sources:
        documents, of_file = manifest.documents(name, text)
        problems += of_file
        for document in documents:
            if not any(document.at(field) for field in _FIELDS):
                continue
            if document.at("kind").text:
                found += manifest.resources(document, DEFAULT_NAMESPACE)
            else:
                message, remedy = "is no Kubernetes manifest: it has no kind", "give it apiVersion and kind"
                node = document.node
                problems.append(Problem(name, node.line, node.column, "", message, remedy))
    return found, problems


class Mesh:
    """All resources that were read, to be judged together."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.resources = resources
        self._by_kind: dict[str, list[Resource]] = defaultdict(list)
        for resource in resources:
            self._by_kind[resource.kind].append(resource)

    def of(self, kind: str) -> Sequence[Resource]:
        """All resources of a kind."""
        return self._by_kind.get(kind, ())

    @cached_property
    def patches(self) -> Sequence[Patch]:
        """What all EnvoyFilters change, in the order of the files."""
        return [patch for resource in self.of("EnvoyFilter") for patch in patches(resource)]

    @cached_property
    def processors(self) -> Sequence[Processor]:
        """Every ext_proc filter that is put in."""
        return [p.processor for p in self.patches if p.processor]

    @cached_property
    def overrides(self) -> dict[str, list[Value]]:
        """What hosts and routes set otherwise than the ext_proc filter does, by the filter's name."""
        found: dict[str, list[Value]] = defaultdict(list)
        for value in (v for p in self.patches if p.apply_to in ROUTES for v in p.value.walk()):
            for name, written in value.at("typed_per_filter_config").entries.items():
                settings = typed(written)
                if settings.name == FILTER_CONFIG:
                    settings = typed(settings.config.at("config"))
                if settings.name == PER_ROUTE and (own := settings.config.at("overrides")):
                    found[name].append(own)
        return found

    def modes(self, processor: Processor) -> list[Value]:
        """The processing modes of ``processor``: its own, and those that hosts and routes have for it."""
        others = (own.at("processing_mode") for own in self.overrides.get(processor.name, ()))
        return [processor.modes, *filter(None, others)]

    def sees_requests(self, processor: Processor) -> bool:
        """Whether any part of a request goes to ``processor``, on any route."""
        return any(map(sees_requests, self.modes(processor)))

    @cached_property
    def filter_names(self) -> frozenset[str]:
        """HTTP filters that EnvoyFilters and extensions bring."""
        found = (p.value.at("name").text for p in self.patches if p.apply_to == "HTTP_FILTER" and p.inserts)
        return frozenset(filter(None, (*found, *self.extensions)))

    @cached_property
    def extensions(self) -> dict[str, Extension]:
        """Wasm and Lua extensions, by every name that a release of Istio gives their filters."""
        return {
            e.filter_name: e for kind in ("WasmPlugin", "TrafficExtension") for r in self.of(kind) for e in filters(r)
        }

    @cached_property
    def added_clusters(self) -> dict[str, Patch]:
        """Clusters that EnvoyFilters bring, by name."""
        added = (p for p in self.patches if p.apply_to == "CLUSTER" and p.operation == "ADD")
        return {name: p for p in added if (name := p.value.at("name").text)}

    def serves_models(self, host: str) -> bool:
        """Whether the full name ``host`` looks like a model server: by its name, or by what a policy says of it."""
        words = set(re.split(r"[^a-z]+", host.partition(".")[0].lower()))
        if any(word.startswith(_MODEL_PREFIXES) or word in _MODEL_WORDS for word in words):
            return True
        policies = (p.spec.at("host").text for p in self.of("ModelInferencePolicy"))
        return host in policies

    def destination_rules(self, host: str) -> list[Resource]:
        """Those whose host is or covers the full name ``host``."""
        rules = self.of("DestinationRule")
        return [r for r in rules if covers(fqdn(r.spec.at("host").text, r.namespace), host)]

    def service(self, host: str) -> Resource | None:
        """The Service with the full name ``host``."""
        return next((s for s in self.of("Service") if fqdn(s.name, s.namespace) == host), None)

    def service_entries(self, host: str) -> list[Resource]:
        """Those that have the full name ``host`` among their hosts."""
        return [s for s in self.of("ServiceEntry") if any(covers(h.text, host) for h in s.spec.at("hosts").items)]

    @cached_property
    def matched_headers(self) -> dict[str, Value]:
        """Routing headers that VirtualServices route by, each with the first place where one does."""
        found: dict[str, Value] = {}
        for service in self.of("VirtualService"):
            for route in service.spec.at("http").items:
                for match in route.at("match").items:
                    for name, place in match.at("headers").named():
                        if routing(name):
                            found.setdefault(name.lower(), place)
        return found
