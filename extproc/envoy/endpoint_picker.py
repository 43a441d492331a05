"""What the Endpoint Picker Protocol adds to ext_proc's messages: which servers may be picked, and which ones were.

Source: kubernetes-sigs/gateway-api-inference-extension, docs/proposals/004-endpoint-picker-protocol (v1.0.0).
"""

from __future__ import annotations

from functools import lru_cache

from extproc._pb import access_log_pb2 as log_pb
from extproc._pb import ext_proc_pb2 as pb
from extproc.headers import DESTINATION_ENDPOINT, DESTINATION_SUBSET

PICKED_NAMESPACE, SUBSET_NAMESPACE = "envoy.lb", "envoy.lb.subset_hint"
"""Namespaces of dynamic metadata: of the picked servers, and of those of which they must be."""
SUBSET_MARK = SUBSET_NAMESPACE.encode()
"""Bytes without which a message has no subset."""
MAX_SUBSET = 10_000
"""Servers of a subset that are read; the rest of a longer one is left out."""


def subset_hint(metadata: pb.Metadata) -> tuple[str, ...] | None:
    """The servers of which one must be picked: a list, or a text with commas; None: the proxy does not say.

    What is neither, or names nobody, allows nobody. An address without a port stands for all of its ports.
    """
    if SUBSET_NAMESPACE not in metadata.filter_metadata:
        return None
    fields = metadata.filter_metadata[SUBSET_NAMESPACE].fields
    if DESTINATION_SUBSET not in fields:
        return None
    value = fields[DESTINATION_SUBSET]
    texts = [item.string_value for item in value.list_value.values] or value.string_value.split(",")
    return tuple(filter(None, map(str.strip, texts[:MAX_SUBSET])))


def picked_endpoints(metadata: log_pb.Metadata) -> str:
    """The servers that were picked for a request, separated by commas; empty where none was."""
    picked = metadata.filter_metadata.get(PICKED_NAMESPACE)
    endpoint = None if picked is None else picked.fields.get(DESTINATION_ENDPOINT)
    return "" if endpoint is None else endpoint.string_value


def endpoints_by_headers(endpoints: str) -> bytes:
    """The picked servers, as a header and as metadata, for behind the bytes of a reply to the request's headers.

    Replies without servers repeat, so that their bytes are made once; with servers they would not. That what follows is
    merged into what came first, for members of a oneof and entries of maps as well, is Protocol Buffers' "Last One
    Wins".
    """
    value = endpoints.encode()
    return value.join(_around(len(value), False))


def endpoints_by_body(endpoints: str) -> bytes:
    """The same for behind a reply to the request's body."""
    value = endpoints.encode()
    return value.join(_around(len(value), True))


@lru_cache(maxsize=1024)
def _around(length: int, body: bool) -> list[bytes]:
    """What stands before, between and behind two values of so many bytes."""
    response, filler = pb.ProcessingResponse(), bytes(length)
    common = (response.request_body if body else response.request_headers).response
    common.clear_route_cache = True
    option = common.header_mutation.set_headers.add(append_action=pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
    option.header.key = DESTINATION_ENDPOINT
    option.header.raw_value = filler
    picked = response.dynamic_metadata.fields[PICKED_NAMESPACE].struct_value
    picked.fields[DESTINATION_ENDPOINT].string_value = filler.decode()
    return response.SerializeToString().split(filler)  # there is no other zero byte: no length or number is 0
