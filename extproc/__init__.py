"""An Envoy external processor that makes a service mesh AI-aware.

Packages stand in the order in which data walks; each imports only what stands below it (docs/architecture.md).
"""

from __future__ import annotations

from typing import Final

__version__ = "0.1.0"

STABLE_MODULES: Final = (
    "extproc.command_line.argument_types",
    "extproc.command_line.entry_point",
    "extproc.command_line.request_flags",
    "extproc.command_line.subcommand",
    "extproc.errors",
    "extproc.exchange.explain",
    "extproc.headers",
    "extproc.lint.findings",
    "extproc.lint.manifest",
    "extproc.lint.manifest_files",
    "extproc.lint.report",
    "extproc.lint.rule_modules",
    "extproc.policy.load_balancer",
    "extproc.policy.snapshot",
    "extproc.policy.target",
    "extproc.policy.upstream",
    "extproc.policyfile.loader",
    "extproc.render.document",
    "extproc.render.envoy.bootstrap",
    "extproc.render.envoy.envoy_options",
    "extproc.render.istio.istio_options",
    "extproc.render.service_names",
    "extproc.yamldoc",
)
"""What other packages may import, as ``linkerd_adapter`` does: names without an underscore in these modules, and
``__version__``. A change of one of them is in CHANGELOG.md. Everything else is private and may change in any release.
Why they are listed and not imported here: docs/decisions/0014-layout.md.
"""
