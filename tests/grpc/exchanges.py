"""Finished exchanges, told to a processor as the observing filter tells them."""

from __future__ import annotations

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS
from extproc.envoy.events import PEER_ATTRIBUTES
from tests.grpc.running import insecure


def exchange(status: str = "200", caller: str = "", **metadata: str) -> list[bytes]:
    """The messages of one."""
    request = pb.ProcessingRequest(request_headers=pb.HttpHeaders(end_of_stream=True), observability_mode=True)
    about = {"model": "llama", "policy": "llama", "version": "v1", "api": "openai", "cohort": "weight"} | metadata
    request.metadata_context.filter_metadata["aimesh"].update(about)
    if caller:
        request.attributes["envoy.filters.http.ext_proc"].update({PEER_ATTRIBUTES[0]: caller})
    headers = pb.HeaderMap(headers=[pb.HeaderValue(key=":status", raw_value=status.encode())])
    response = pb.ProcessingRequest(
        response_headers=pb.HttpHeaders(headers=headers, end_of_stream=True), observability_mode=True
    )
    return [request.SerializeToString(), response.SerializeToString()]


def tell(address: str, *exchanges: list[bytes]) -> bool:
    """Tells the processor at ``address`` of each, one after the other. True, for conditions that it brings about."""
    with insecure(address) as channel:
        for messages in exchanges:
            assert list(channel.stream_stream(PROCESS)(iter(messages), timeout=10)) == []
    return True
