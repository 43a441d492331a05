"""Any other external processor beside ours: `--peer NAME='command with {port}'`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from benchmarks.mesh.scenarios import Doc, Scenario
from extproc.render.envoy.envoy_options import PROCESSOR, ROUTE_FILTER, request_mode, typed

MODES = {"buffered": "BUFFERED", "streamed": "STREAMED", "duplex": "FULL_DUPLEX_STREAMED"}
"""How request bodies reach it, by the word in ``--peer``; Envoy's ``BodySendMode``."""


def add_flag(parser: argparse.ArgumentParser) -> None:
    """``--peer``, whose values are scenarios."""
    parser.add_argument(
        "--peer",
        action="append",
        type=external,
        default=[],
        metavar="NAME[:MODE]=COMMAND",
        help="another external processor, by the command that starts it without TLS on {port}; how it gets bodies: "
        f"{', '.join(MODES)} (default: buffered). May be given more than once",
    )


def external(text: str) -> Scenario:
    """The scenario that a value of ``--peer`` describes. Raises ``ArgumentTypeError``."""
    title, equals, command = text.partition("=")
    name, _, mode = title.partition(":")
    words = shlex.split(command)
    if not name or not equals or not any("{port}" in word for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME='command with {{port}}'")
    if mode and mode not in MODES:
        raise argparse.ArgumentTypeError(f"{mode!r} is none of {', '.join(MODES)}")

    def start(_: Path, address: str) -> list[str]:
        return [word.replace("{port}", address.rpartition(":")[2]) for word in words]

    return Scenario(
        name,
        start,
        filters=lambda filters: [_filter(MODES[mode or "buffered"]), *filters[-1:]],
        edit=without_health_checks,
        decides=False,
        listens="port",
    )


def _filter(mode: str) -> Doc:
    """It sees all headers of a request and its body, and nothing of the answer; what it sets is taken."""
    trailers = {"request_trailer_mode": "SEND"} if mode == MODES["duplex"] else {}  # Envoy insists
    return typed(
        ROUTE_FILTER,
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": PROCESSOR}},
        processing_mode=request_mode(mode) | trailers,
        send_body_without_waiting_for_header_response=mode == MODES["streamed"],
        message_timeout="10s",
    )


def without_health_checks(document: Doc) -> None:
    """Not every processor has gRPC's health service."""
    for cluster in document["static_resources"]["clusters"]:
        cluster.pop("health_checks", None)
