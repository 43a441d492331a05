"""The processor's access log in the proxies of the mesh: Envoy's account of each request for a model.

The connection manager of a sidecar's port serves other hosts, too. So only requests are logged that have reached
``admission.admitted_filter``, which stands behind authentication and is enabled for the policies' hosts. CEL tells, as
where istiod itself writes the filter of a Telemetry's log (istio/istio, pilot/pkg/model/telemetry_logging.go).

Istio's own way, ``envoyHttpAls`` in the mesh configuration, lacks gRPC metadata and would log every host.
"""

from __future__ import annotations

from extproc.exchange.request_outcome import MESH_NAMESPACE
from extproc.render.document import Doc
from extproc.render.envoy import access_logs
from extproc.render.envoy.envoy_options import typed
from extproc.render.istio.admission import ADMITTED_FILTER
from extproc.render.istio.istio_options import IstioOptions


def account_log(options: IstioOptions) -> Doc:
    """An item of ``access_log``. Its gRPC metadata tell how the mesh calls clusters."""
    log = access_logs.account_log(options.envoy, (MESH_NAMESPACE, options.namespace))
    admitted = typed(
        "envoy.access_loggers.extension_filters.cel",
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"'{ADMITTED_FILTER}' in filter_state",
    )
    return {"name": log["name"], "filter": {"extension_filter": admitted}, "typed_config": log["typed_config"]}
