"""What a client gets whose request the processor itself answers with an error: in the shape of the request's API."""

from __future__ import annotations

from extproc.apis.error_table import error_shape
from extproc.apis.grpc_error import DETAILS, status_details
from extproc.bodies.grpc_message import is_grpc
from extproc.bodies.request import Operation
from extproc.envoy.actions import Reject, grpc_status
from extproc.errors import Rejected
from extproc.headers import Headers


def refused(
    rejected: Rejected, operation: Operation, metadata: tuple[tuple[str, str], ...], headers: Headers
) -> Reject:
    """The answer. ``metadata``: dynamic metadata of the request; ``headers``: the request's own."""
    status, code, message = rejected.status, rejected.code, str(rejected)
    if is_grpc(headers):
        details = status_details(grpc_status(status), code, message, retry=status in (429, 503))
        return Reject(status, code, message, metadata, True, ((DETAILS, details),), message.encode())
    shape = error_shape(operation.api, operation.name)
    told = shape.headers(status)
    if rejected.retry_after:
        told = (*told, ("retry-after", str(rejected.retry_after)))
    return Reject(status, code, message, metadata, headers=told, body=shape.body(status, code, message))
