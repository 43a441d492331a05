"""The tree as data: its modules and their imports, the order of its packages, and what breaks that order."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGES = (
    *("errors", "headers", "regular_file", "yamldoc", "_pb", "command_line", "fetch"),
    *("http2", "grpc_server"),
    *("envoy", "bodies", "apis", "answers"),
    *("policy", "picking", "exchange", "rollout"),
    *("render", "telemetry", "policyfile", "lint", "doctor", "kubernetes"),
    *("admin", "serve", "gateway", "demo", "cli", "__main__"),
)
"""Packages and single modules of ``extproc``, lowest first: each may import only those before it."""

LINKERD_ADAPTER_MAY_IMPORT = frozenset(
    {"errors", "headers", "yamldoc", "command_line", "bodies", "policy", "exchange", "policyfile", "render", "lint"}
)
"""Packages that ``linkerd_adapter`` builds on: what decides and describes, never what serves."""

IMPORT_LINKERD_ADAPTER = ("cli.controller",)
"""Modules of ``extproc`` that carry out policies on Linkerd too, by the adapter's own renderer."""

ONLY: dict[str, tuple[str, ...]] = {
    "grpc": ("grpc_server.*", "demo.pipeline.*"),
    "google.protobuf": (
        *("envoy.access_log", "envoy.canonical_log", "envoy.codec", "envoy.logged_request"),
        *("serve.grpc_health", "telemetry.spans"),
    ),
    "extproc._pb": (
        *("envoy.access_log", "envoy.codec", "envoy.endpoint_picker", "envoy.logged_request"),
        *("serve.grpc_health", "telemetry.spans"),
        "demo.pipeline.*",
    ),
    "prometheus_client": (
        "telemetry.metrics",
        "telemetry.custom_series",
        "telemetry.cluster_gauges",
        "telemetry.rollout_gauges",
        "telemetry.serving_gauges",
        "telemetry.endpoint_gauges",
        "telemetry.gpu_gauges",
        "telemetry.rendering_drift",
        "admin.server",
        "demo.*",
    ),
    "yaml": ("yamldoc", "policyfile.loader", "render.*", "linkerd_adapter.*"),
    "numpy": ("picking.*", "policy.*", "rollout.verdict", "demo.*"),
    "aiohttp": ("cli.load_generator", "demo.*"),
    "opentelemetry": ("telemetry.otlp",),
    "h11": ("fetch.answer_reader",),
    "http.client": ("admin.bounded_server",),  # its answers have no bounds: ``fetch`` asks others
    "urllib.request": (),
    "lightkube": ("kubernetes.api",),
    "httpx2": ("kubernetes.api",),
    "envoy_data_plane": (),  # hundreds of times slower than protobuf: for tests
}
"""Libraries that only these modules import."""

SANS_IO = (
    *("errors", "headers", "http2", "envoy", "bodies", "apis", "answers"),
    *("policy", "picking", "exchange", "rollout"),
)
"""Packages without I/O, clock or randomness."""
NOT_IN_SANS_IO = (
    *("time", "datetime", "random", "secrets", "uuid", "tempfile"),
    *("os", "sys", "io", "pathlib", "socket", "ssl", "select", "selectors", "http", "urllib.request", "logging"),
    *("asyncio", "concurrent", "multiprocessing", "queue", "signal", "subprocess", "threading"),
)
NOT_CALLED_IN_SANS_IO = frozenset({"open", "print", "input", "breakpoint"})
ALLOWED_ALL_THE_SAME = {("extproc.exchange.explain", "os"), ("extproc.http2.huffman", "sys")}
"""Where it is given no entropy, ``explain`` draws a version by itself; ``sys.intern`` does no I/O."""


def modules(root: Path) -> dict[str, ast.Module]:
    """Every module by its dotted name, generated code left out."""
    found = {}
    for base, package in ((root, "extproc"), (root / "linkerd-adapter", "linkerd_adapter")):
        for path in sorted((base / package).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if "_pb" not in parts:
                found[name] = ast.parse(path.read_text(), str(path))
    return found


def short(module: str) -> str:
    """The name without ``extproc.``."""
    return module.removeprefix("extproc.")


def package_of(module: str) -> str | None:
    """The package of ``extproc`` that a module stands in; None where it is no module of ``extproc``."""
    return short(module).partition(".")[0] if module.startswith("extproc.") else None


def names_of_test(module: str) -> tuple[Path, ...]:
    """Where the test of a module may be: by its name or, where another module has the same, by its packages' too."""
    *packages, name = short(module).split(".")
    qualified = (packages or ["extproc"], *(packages[at:] for at in range(1, len(packages))))
    names = [name, *("_".join((*each, name)) for each in reversed(qualified))]
    return tuple(Path(*packages) / f"test_{each}.py" for each in names)


def listed(module: str, names: tuple[str, ...]) -> bool:
    """Whether one of ``names``, which may be patterns, is the module's."""
    return any(fnmatchcase(short(module), name) for name in names)


def imports(module: str, tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    """What ``module`` imports, anywhere in it: of a package its submodule where it names one."""
    package = module if any(m.startswith(f"{module}.") for m in known) else module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                start = ".".join((*above, source) if source else above)
                for alias in names:
                    full = f"{start}.{alias.name}"
                    yield full if full in known or full.startswith("extproc._pb") else start
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(source))],
            ):
                yield source


def within(name: str, package: str) -> bool:
    """Whether ``name`` is the package or stands in it."""
    return name == package or name.startswith(f"{package}.")


def problems(root: Path) -> list[str]:
    """Every import and call in the tree at ``root`` that breaks the rules above."""
    known = modules(root)
    graph = {name: sorted(set(imports(name, tree, known))) for name, tree in known.items()}
    found = []
    for module, targets in graph.items():
        package = package_of(module)
        if package is not None and package not in PACKAGES:
            found.append(f"{module}: its package is not in PACKAGES")
        for target in targets:
            found += _import_problems(module, target)
        if package in SANS_IO:
            calls = _calls(known[module]) & NOT_CALLED_IN_SANS_IO
            found += [f"{module}: a sans-I/O package calls {name}()" for name in sorted(calls)]
    try:
        TopologicalSorter({module: [t for t in targets if t in known] for module, targets in graph.items()}).prepare()
    except CycleError as error:
        found.append(f"a cycle: {' → '.join(reversed(error.args[1]))}")
    return found


def _import_problems(module: str, target: str) -> Iterator[str]:
    here, there = package_of(module), package_of(target)
    if within(module, "linkerd_adapter"):
        if there is not None and there not in LINKERD_ADAPTER_MAY_IMPORT:
            yield f"{module}: imports {target}, and linkerd_adapter may not import {there}"
    elif within(target, "linkerd_adapter") and not listed(module, IMPORT_LINKERD_ADAPTER):
        yield f"{module}: imports {target}"
    elif here in PACKAGES and there in PACKAGES and PACKAGES.index(there) > PACKAGES.index(here):
        yield f"{module}: imports {target}, and {there} stands above {here}"
    for library, users in ONLY.items():
        if within(target, library) and not listed(module, users):
            yield f"{module}: imports {target}, which is for {', '.join(users) or 'tests'} only"
    allowed = (module, target) in ALLOWED_ALL_THE_SAME
    if here in SANS_IO and not allowed and any(within(target, name) for name in NOT_IN_SANS_IO):
        yield f"{module}: a sans-I/O package imports {target}"


def _calls(tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {func.id for func in calls if isinstance(func, ast.Name)}
