"""The rules of the house: which module stands where, who may use which library, a core without I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]

FLOORS: dict[int, tuple[str, ...]] = {
    6: (
        "__main__",
        "apis.__main__",
        "lint.__main__",
        "doctor.run",
        "doctor.__main__",
        "cli",
        "arguments",
        "live_arguments",
        "fleet",
        "stat",
        "tapping",
        "render_arguments",
        "istio_arguments",
        "server",
        "workers",
        "gateway",
        "embedded",
        "check",
        "bench",
        "demo",
        "demo.*",
    ),
    5: (
        "servicer",
        "engine",
        "engine.*",
        "reload",
        "admin",
        "health",
        "child",
        "tls",
        "options",
        "signals",
        "worker",
        "replica",
        "page",
        "otlp",
        "feeds",
        "linkerd_adapter",
        "linkerd_adapter.*",
    ),
    4: (
        "argtypes",
        "canonical",
        "codec",
        "config",
        "effective",
        "explain",
        "fields",
        "kinds",
        "slo",
        "values",
        "versions",
        "wiring",
        "yamldoc",
        "metrics",
        "golden",
        "recent",
        "tap",
        "live",
        "histogram",
        "series",
        "custom",
        "genai",
        "tracing",
        "render",
        "render.*",
        "subcommand",
        "lint",
        "lint.*",
        "doctor",
        "doctor.*",
    ),
    3: ("stream", "native", "body", "replies", "observe"),
    2: (
        "policy",
        "unreadable",
        "measured",
        "loadread",
        "jsonbody",
        "jsonmend",
        "jsonreader",
        "rpcreader",
        "coding",
        "grpcframe",
        "multipart",
        "apis",
        "apis.*",
        "answers",
        "answers.*",
    ),
    1: ("events", "actions", "request", "gpu", "measures", "load", "view", "findings"),
    0: ("errors", "headers", "rendezvous"),
}
"""Module names without `extproc.`. A new module is added here, as low as its imports allow."""

ADAPTER_CEILING = 4
"""linkerd_adapter builds on the core and on what reads policies, never on the shell."""

ONLY: dict[str, tuple[str, ...]] = {
    "grpc": ("engine", "engine.*"),
    "google.protobuf": ("codec", "health"),
    "extproc._pb": ("codec", "health"),
    "prometheus_client": ("metrics", "series", "admin", "demo.*"),
    "yaml": ("yamldoc", "config", "render", "render.*", "linkerd_adapter.*"),
    "numpy": ("view", "policy", "demo.*"),
    "aiohttp": ("bench", "demo.*"),
    "opentelemetry": ("otlp",),
    "envoy_data_plane": (),  # hundreds of times slower than protobuf: for tests
}
"""Libraries that only these modules import."""

CORE = 3
"""Up to this floor: sans-I/O."""
NOT_IN_CORE = (
    *("time", "datetime", "random", "secrets", "uuid", "tempfile"),
    *(
        "os",
        "sys",
        "io",
        "pathlib",
        "socket",
        "ssl",
        "select",
        "selectors",
        "http",
        "urllib.request",
        "logging",
    ),
    *("asyncio", "concurrent", "multiprocessing", "queue", "signal", "subprocess", "threading"),
)
"""Clock, entropy, I/O: in the core they are arguments, or they are not."""
NOT_CALLED_IN_CORE = frozenset({"open", "print", "input", "breakpoint"})


def modules(root: Path) -> dict[str, ast.Module]:
    """Every module by its dotted name; generated code and `extproc/__init__.py` are left out."""
    found = {}
    for base, package in ((root, "extproc"), (root / "linkerd-adapter", "linkerd_adapter")):
        for path in sorted((base / package).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if name != "extproc" and "_pb" not in parts:
                found[name] = ast.parse(path.read_text(), str(path))
    return found


def short(module: str) -> str:
    """The name as FLOORS has it."""
    return module.removeprefix("extproc.")


def listed(module: str, names: tuple[str, ...]) -> bool:
    """Whether one of ``names``, patterns as in FLOORS, is the module's."""
    return any(fnmatchcase(short(module), name) for name in names)


def floor(module: str) -> int | None:
    """The floor of a module; None for what FLOORS does not list, other libraries too."""
    return next((number for number, names in FLOORS.items() if _ours(module) and listed(module, names)), None)


def in_core(module: str) -> bool:
    here = floor(module)
    return here is not None and here <= CORE


def imports(module: str, tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    """What ``module`` imports, anywhere in it: of a package its submodule where it names one."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                package = module if any(m.startswith(f"{module}.") for m in known) else module.rpartition(".")[0]
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                start = ".".join((*above, source) if source else above)
                for alias in names:
                    whole = f"{start}.{alias.name}"
                    yield whole if whole in known or whole.startswith("extproc._pb") else start
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(source))],
            ):
                yield source


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def problems(root: Path) -> list[str]:
    """Everything in the tree at ``root`` that breaks the rules of the house."""
    known = modules(root)
    graph = {name: sorted(set(imports(name, tree, known))) for name, tree in known.items()}
    found = [f"{m}: on no floor; add it to FLOORS" for m in known if floor(m) is None]
    for module, targets in graph.items():
        for target in targets:
            found += _import_problems(module, target)
        if (floor(module) or 0) <= CORE and floor(module) is not None:
            found += [f"{module}: the core calls {name}()" for name in _calls(known[module]) & NOT_CALLED_IN_CORE]
    ours = {module: [t for t in targets if t in known] for module, targets in graph.items()}
    try:
        TopologicalSorter(ours).prepare()
    except CycleError as error:
        found.append(f"a cycle: {' → '.join(reversed(error.args[1]))}")
    return found


def _import_problems(module: str, target: str) -> Iterator[str]:
    here, there = floor(module), floor(target)
    ceiling = ADAPTER_CEILING if within(module, "linkerd_adapter") else here
    inside = within(target, "linkerd_adapter") and within(module, "linkerd_adapter")
    if ceiling is not None and there is not None and there > ceiling and not inside:
        yield f"{module} (up to floor {ceiling}): imports {target} (floor {there})"
    if within(target, "linkerd_adapter") and not inside:
        yield f"{module}: imports {target}"
    for library, users in ONLY.items():
        if within(target, library) and not listed(module, users):
            yield f"{module}: imports {target}, which is for {', '.join(users) or 'tests'} only"
    if in_core(module) and any(within(target, name) for name in NOT_IN_CORE):
        yield f"{module}: the core imports {target}"


def _ours(module: str) -> bool:
    return within(module, "extproc") or within(module, "linkerd_adapter")


def _calls(tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {func.id for func in calls if isinstance(func, ast.Name)}
