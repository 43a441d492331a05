"""The processor's access log: which requests it takes, and what it says of the mesh."""

from __future__ import annotations

from extproc.render.istio.account_log import account_log
from extproc.render.istio.istio_options import IstioOptions


def test_only_requests_that_our_filters_have_seen() -> None:
    condition = account_log(IstioOptions())["filter"]["extension_filter"]["typed_config"]
    assert condition["expression"] == "'aimesh.admitted' in filter_state"


def test_it_goes_to_the_processor_and_says_how_clusters_are_called() -> None:
    service = account_log(IstioOptions(namespace="ml"))["typed_config"]["common_config"]["grpc_service"]
    assert service["envoy_grpc"] == {"cluster_name": "outbound|50051||aimesh-extproc.aimesh-system.svc.cluster.local"}
    assert service["initial_metadata"] == [{"key": "x-aimesh-namespace", "value": "ml"}]
    added = account_log(IstioOptions(processors=("unix:///run/p.sock",)))["typed_config"]["common_config"]
    assert added["grpc_service"]["envoy_grpc"] == {"cluster_name": "aimesh-processor"}
