"""EnvoyFilter: which parts of requests and answers ext_proc filters see, for all hosts and for some.

A filter's ``processing_mode`` and those in ``overrides`` of ExtProcPerRoute are judged alike. AIM121, AIM127 and AIM136
are told of where the mode is written, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.envoy_filter_ext_proc import UNKNOWN_FIELD
from extproc.lint.envoy_filter_patches import mode
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value, camel
from extproc.lint.mesh import Mesh
from extproc.policyfile.fields import suggestion

OVERRIDES = (
    *("processing_mode", "async_mode", "request_attributes", "response_attributes", "grpc_service", "metadata_options"),
    *("grpc_initial_metadata", "failure_mode_allow", "processing_request_modifier", "emit_client_span"),
)
"""Fields of ExtProcOverrides in Envoy 1.40."""

PARTIAL = Rule(
    "AIM126",
    "error",
    "`BUFFERED_PARTIAL`",
    "A race: with a late or a large body the upstream gets the new headers, but the old cluster was chosen already.",
    "use BUFFERED, with the buffer limit raised",
)
DUPLEX_TRAILERS = Rule(
    "AIM128",
    "error",
    "`FULL_DUPLEX_STREAMED` without trailers",
    "Envoy refuses the filter unless the trailer mode of the same direction is `SEND`.",
    "write request_trailer_mode: SEND (for a response body, response_trailer_mode: SEND)",
)
DUPLEX_HANGS = Rule(
    "AIM129",
    "warning",
    "`FULL_DUPLEX_STREAMED` has no timeout",
    "`message_timeout` does not count there: a processor that hangs hangs the client, until the connection manager's "
    "`stream_idle_timeout`. `failure_mode_allow` does not save a request whose body is on the way.",
    "use BUFFERED, or STREAMED with send_body_without_waiting_for_header_response: true",
)
BUFFERED_ANSWERS = Rule(
    "AIM140",
    "error",
    "buffered answers",
    "`response_body_mode: BUFFERED` holds a streamed answer (SSE) back until its end, and an answer of more than 1 MiB "
    "becomes a 500; `BUFFERED_PARTIAL` holds back up to that size.",
    "write response_body_mode: NONE, or STREAMED in a filter with observability_mode: true; one that has to change "
    "answers takes FULL_DUPLEX_STREAMED",
)
RULES = (PARTIAL, DUPLEX_TRAILERS, DUPLEX_HANGS, BUFFERED_ANSWERS)

_BODY = ("NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED", "GRPC")
_MODES = {
    f"{direction}_{part}_mode": _BODY if part == "body" else ("DEFAULT", "SEND", "SKIP")
    for direction in ("request", "response")
    for part in ("header", "body", "trailer")
}


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every processing mode of every ext_proc filter."""
    for processor in mesh.processors:
        for modes in mesh.modes(processor):
            yield from _unknown(modes)
            yield from _bodies(modes, observes=processor.observes)
    for settings in (own for found in mesh.overrides.values() for own in found):
        for name, key in settings.named():
            if name not in OVERRIDES and name not in map(camel, OVERRIDES):
                yield key.breaks(UNKNOWN_FIELD, f"overrides have no field {name}", suggestion(name, OVERRIDES))


def _unknown(modes: Value) -> Iterator[Finding]:
    """What a processing mode does not have."""
    for name, key in modes.named():
        if name not in _MODES and name not in map(camel, _MODES):
            yield key.breaks(UNKNOWN_FIELD, f"the processing mode has no field {name}", suggestion(name, _MODES))
    for name, words in _MODES.items():
        written = modes.at(name)
        if written.text and not written.text.isdigit() and written.text not in words:
            yield written.breaks(UNKNOWN_FIELD, f"there is no mode {written.text}", suggestion(written.text, words))


def _bodies(modes: Value, *, observes: bool) -> Iterator[Finding]:
    if (body := modes.at("request_body_mode")).text == "BUFFERED_PARTIAL":
        yield body.breaks(PARTIAL)
    if (body := modes.at("response_body_mode")).text.startswith("BUFFERED") and not observes:
        yield body.breaks(BUFFERED_ANSWERS)
    for direction in ("request", "response"):
        body = modes.at(f"{direction}_body_mode")
        if body.text == "FULL_DUPLEX_STREAMED":
            yield body.breaks(DUPLEX_HANGS)
            if mode(modes, f"{direction}_trailer_mode") != "SEND":
                yield body.breaks(DUPLEX_TRAILERS, remedy=f"write {direction}_trailer_mode: SEND")
