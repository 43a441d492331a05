"""An OpenTelemetry collector of ours: a real gRPC server with OTLP's services, which keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver(trace_grpc.TraceServiceServicer, metrics_grpc.MetricsServiceServicer):
    """Every message in the order in which it came."""

    def __init__(self) -> None:
        self.traces: list[trace_pb.ExportTraceServiceRequest] = []
        self.metrics: list[metrics_pb.ExportMetricsServiceRequest] = []
        self.url = ""

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - as the service has it
        if isinstance(request, trace_pb.ExportTraceServiceRequest):
            self.traces.append(request)
            return trace_pb.ExportTraceServiceResponse()
        self.metrics.append(request)
        return metrics_pb.ExportMetricsServiceResponse()

    def spans(self, service: str = "extproc") -> list[Span]:
        """Those of the service of this name."""
        return [
            span
            for message in self.traces
            for resource in message.resource_spans
            if values(resource.resource.attributes).get("service.name") == service
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def latest(self) -> dict[str, list[Any]]:
        """The points of the last message of metrics, by the metric's name."""
        return {
            metric.name: list(metric.histogram.data_points)
            for resource in self.metrics[-1].resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def values(attributes: Any) -> dict[str, Any]:
    """Attributes as plain data."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listens on a free port."""
    receiver = Receiver()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        trace_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
        metrics_grpc.add_MetricsServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
        receiver.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield receiver
        finally:
            server.stop(0).wait()
