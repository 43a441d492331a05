"""Details of a gRPC status, as protobuf's own code for Google's messages reads them."""

from __future__ import annotations

from base64 import b64decode

from google.rpc import error_details_pb2 as kinds
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from extproc.apis.grpc_error import status_details


@given(
    status=st.integers(0, 16),
    code=st.sampled_from(["duplicate_model", "ambiguous_model", "no_gpu_available", "request_too_large"]),
    message=st.text(max_size=300),
    retry=st.booleans(),
)
def test_clients_read_what_is_written(status: int, code: str, message: str, retry: bool) -> None:
    found = status_pb2.Status.FromString(b64decode(status_details(status, code, message, retry=retry), validate=True))
    assert (found.code, found.message) == (status, message)
    info, bad, again = kinds.ErrorInfo(), kinds.BadRequest(), kinds.RetryInfo()
    unpacked = [[each.Unpack(one) for one in (info, bad, again)].index(True) for each in found.details]
    assert unpacked == [0] + [1] * (status == 3 and code.endswith("_model")) + [2] * retry
    assert (info.reason, info.domain) == (code.upper(), "aimesh")
    assert [(one.field, one.description) for one in bad.field_violations] == [("model", message)] * (1 in unpacked)
    assert again.retry_delay.seconds == int(retry)
