"""Entries of the access log, as another implementation of Envoy's API writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from envoy_data_plane.envoy.config.core.v3 import Address, Metadata, SocketAddress
from envoy_data_plane.envoy.data.accesslog import v3 as data
from envoy_data_plane.envoy.service.accesslog import v3 as service
from envoy_data_plane.google.protobuf import Any as AnyMessage
from envoy_data_plane.google.protobuf import Struct, Value
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue, UInt32Value
from hypothesis import given
from hypothesis import strategies as st

from extproc.envoy.access_log import MAX_ENTRIES, MAX_MESSAGE, decode
from extproc.envoy.codec import Malformed
from extproc.envoy.logged_request import LoggedRequest

SERVER = Address(socket_address=SocketAddress(address="10.0.0.1", port_value=8000))
ROUTED = {"policy": "p", "version": "v1"}


def metadata(**values: str) -> Metadata:
    fields = {key: Value(string_value=value) for key, value in values.items()}
    return Metadata(filter_metadata={"aimesh": Struct(fields=fields), "other": Struct()})


def message(*entries: data.HttpAccessLogEntry) -> bytes:
    logs = service.StreamAccessLogsMessageHttpAccessLogEntries(log_entry=list(entries))
    return bytes(service.StreamAccessLogsMessage(http_logs=logs))


def entry(code: int | None = 200, headers: dict[str, str] | None = None, **common: Any) -> data.HttpAccessLogEntry:
    return data.HttpAccessLogEntry(
        common_properties=data.AccessLogCommon(**common),
        request=data.HttpRequestProperties(path="/v1/models", request_headers=headers or {}),
        response=data.HttpResponseProperties(response_code=code),
    )


def packed(value: Message) -> AnyMessage:
    return AnyMessage(f"type.googleapis.com/{value.DESCRIPTOR.full_name}", value.SerializeToString())


def test_a_request_that_was_answered() -> None:
    found = entry(
        upstream_remote_address=SERVER,
        upstream_cluster="p/v1",
        duration=timedelta(seconds=2, milliseconds=250),
        metadata=metadata(**ROUTED),
    )
    assert decode(message(found)) == [LoggedRequest(200, 2.25, "p/v1", (), ROUTED)]


@pytest.mark.parametrize(("host", "served"), [("10.0.0.1", "10.0.0.1:8000"), ("::1", "[::1]:8000")])
def test_a_request_whose_endpoint_was_picked(host: str, served: str) -> None:
    value = {"x-gateway-destination-endpoint": Value(string_value="10.0.0.9:80,10.0.0.1:8000")}
    picked = Metadata(filter_metadata={"envoy.lb": Struct(fields=value)})
    server = Address(socket_address=SocketAddress(address=host, port_value=8000))
    found, unsent = decode(message(entry(metadata=picked, upstream_remote_address=server), entry(metadata=picked)))
    assert (found.picked, found.served) == ("10.0.0.9:80,10.0.0.1:8000", served)
    assert (unsent.picked, unsent.served) == ("10.0.0.9:80,10.0.0.1:8000", "")


@pytest.mark.parametrize(
    ("details", "refusal"),
    [("aimesh_no_room", "no_room"), ("via_upstream", ""), ("ext_proc_error_aimesh_x", ""), ("", "")],
)
def test_whose_error_it_was(details: str, refusal: str) -> None:
    found = entry(429)
    assert found.response is not None
    found.response.response_code_details = details
    assert decode(message(found)) == [LoggedRequest(429, 0.0, refusal=refusal)]


def test_entries_keep_their_order() -> None:
    assert [one.code for one in decode(message(entry(200), entry(503), entry(400)))] == [200, 503, 400]


def test_a_message_without_entries_says_who_logs() -> None:
    identifier = service.StreamAccessLogsMessageIdentifier(log_name="aimesh")
    assert decode(bytes(service.StreamAccessLogsMessage(identifier=identifier))) == []


def test_whether_the_answer_had_begun_and_which_request_it_was() -> None:
    begun = entry(time_to_first_upstream_rx_byte=timedelta(0))
    begun.request.request_id = "7-a"
    found, other = decode(message(begun, entry()))
    assert (found.answered, found.request_id) == (True, "7-a")
    assert (other.answered, other.request_id) == (False, "")


def test_filter_state_that_is_none_is_refused() -> None:
    broken = AnyMessage("type.googleapis.com/google.protobuf.StringValue", b"\xff")
    with pytest.raises(Malformed, match="filter state"):
        decode(message(entry(filter_state_objects={"io.istio.peer_principal": broken})))


def test_flags_by_their_names() -> None:
    flags = data.ResponseFlags(upstream_remote_reset=True, downstream_remote_reset=True, fault_injected=True)
    (one,) = decode(message(entry(0, response_flags=flags)))
    assert (one.code, one.flags) == (0, ("upstream_remote_reset", "downstream_remote_reset"))


@pytest.mark.parametrize(
    ("common", "cluster"),
    [
        ({}, ""),
        ({"response_flags": data.ResponseFlags(downstream_connection_termination=True)}, ""),
        ({"response_flags": data.ResponseFlags(no_healthy_upstream=True)}, "p/v1"),
        ({"response_flags": data.ResponseFlags(upstream_overflow=True)}, "p/v1"),
        ({"response_flags": data.ResponseFlags(no_cluster_found=True)}, "p/v1"),
        ({"response_flags": data.ResponseFlags(dns_resolution_failure=True)}, "p/v1"),
        ({"upstream_remote_address": SERVER}, "p/v1"),
    ],
)
def test_a_request_went_where_it_was_sent(common: dict[str, Any], cluster: str) -> None:
    """A route has a cluster even where a filter answers, or the client leaves first."""
    (one,) = decode(message(entry(upstream_cluster="p/v1", **common)))
    assert one.cluster == cluster


def test_the_caller_is_who_the_certificate_names() -> None:
    names = [
        data.TlsPropertiesCertificatePropertiesSubjectAltName(dns="a"),
        data.TlsPropertiesCertificatePropertiesSubjectAltName(uri="spiffe://a"),
    ]
    tls = data.TlsProperties(
        peer_certificate_properties=data.TlsPropertiesCertificateProperties(subject_alt_name=names)
    )
    header = {"l5d-client-id": "b.shop"}
    tunnel = {"io.istio.peer_principal": packed(StringValue(value="spiffe://t"))}
    other = {"io.istio.peer_principal": packed(UInt32Value(value=1))}
    callers = [
        entry(tls_properties=tls, headers=header, filter_state_objects=tunnel),
        entry(headers=header, filter_state_objects=tunnel),
        entry(headers=header, filter_state_objects=other),
        entry(),
    ]
    assert [one.caller for one in decode(message(*callers))] == ["spiffe://a", "spiffe://t", "b.shop", ""]


@pytest.mark.parametrize(("told", "caller"), [("a.shop", "a.shop"), ("a.shop,b.shop", "a.shop"), ("-", ""), ("", "")])
def test_a_certificate_without_a_uri_names_its_caller_by_dns(told: str, caller: str) -> None:
    (found,) = decode(message(entry(custom_tags={"aimesh.peer": told})))
    assert found.caller == caller


@given(st.binary(max_size=200))
def test_bytes_of_any_kind(junk: bytes) -> None:
    try:
        found = decode(junk)
    except Malformed:
        return
    assert all(isinstance(one, LoggedRequest) for one in found)


def test_cut_short() -> None:
    whole = message(entry(upstream_cluster="p/v1"))
    with pytest.raises(Malformed):
        decode(whole[:-1])


@pytest.mark.parametrize("entries", [MAX_ENTRIES, MAX_ENTRIES + 1])
def test_entries_are_bounded(entries: int) -> None:
    found = message(*[data.HttpAccessLogEntry()] * entries)
    if entries > MAX_ENTRIES:
        with pytest.raises(Malformed, match="too many entries"):
            decode(found)
    else:
        assert len(decode(found)) == entries


def test_bytes_are_bounded() -> None:
    base = len(message(entry(upstream_cluster="x" * 200_000)))
    rest = MAX_MESSAGE - base
    assert len(decode(message(entry(upstream_cluster="x" * (200_000 + rest))))) == 1
    with pytest.raises(Malformed, match="too large"):
        decode(message(entry(upstream_cluster="x" * (200_001 + rest))))
