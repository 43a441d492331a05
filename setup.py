"""Compiles what every request passes through: the same Python, by Cython, where a wheel is built. See decision 0012.

Without a C compiler or Python's headers the wheel is as good, and slower. An installation that can be edited stays as
it is written: compiled modules beside their sources would hide what is changed in them.
"""

from __future__ import annotations

import os
import sys

from setuptools import Extension, setup

COMPILED = (
    "headers",
    *(f"http2.{name}" for name in ("connection", "control_frames", "flood_limits", "frames", "header_fields", "hpack")),
    *(f"http2.{name}" for name in ("limits", "memory_budget")),
    *(f"http2.{name}" for name in ("huffman", "request_headers", "settings", "stream", "stream_states", "windows")),
    *("grpc_server.call", "grpc_server.client_socket", "grpc_server.metadata", "grpc_server.status"),
    *("envoy.access_log", "envoy.canonical", "envoy.codec"),
    *("bodies.ambiguous_keys", "bodies.json_reader", "bodies.json_scan", "bodies.request", "bodies.string_span"),
    *("apis.__init__", "apis.path_pattern"),
    *("answers.answer_reader", "answers.answer_state", "answers.event_inspector", "answers.json_pointers"),
    *("answers.message_inspector", "answers.token_counts"),
    *(f"answers.wire.{name}" for name in ("decoder", "json_array", "lenient_json", "sse")),
    *(
        "policy.decision",
        "policy.model_patterns",
        "policy.pool_load",
        "policy.rendezvous",
        "policy.snapshot",
        "policy.sticky_key",
    ),
    *("exchange.body_mode", "exchange.observe", "exchange.replies", "exchange.request_body", "exchange.route"),
    *("exchange.request_outcome", "exchange.metric_labels", "exchange.sampling", "exchange.timed_answer"),
    *("telemetry.histogram", "telemetry.metrics", "serve.access_log_service", "serve.open_streams", "serve.servicer"),
)
"""Modules of ``extproc``. Not ``grpc_server.event_loop``: Python handles signals between interpreted instructions."""

FLAGS = [
    *("-g0", "-w", "-O2"),
    # Between two requests caches are others': what is not fetched anew is won. So code stands close together, and does
    # not check its own frames: all that stands there is of a fixed size.
    *(f"-falign-{what}=1" for what in ("functions", "jumps", "labels", "loops")),
    *("-fcf-protection=none", "-fno-plt", "-fno-stack-protector"),
]


def extensions() -> list[Extension]:
    """None where nothing is to be compiled."""
    if "editable_wheel" in sys.argv:
        return []
    from Cython.Build import cythonize

    found = [
        Extension(f"extproc.{name}", [f"extproc/{name.replace('.', '/')}.py"], extra_compile_args=FLAGS)
        for name in COMPILED
    ]
    # What annotations say is not taken for types in C: Python's own meaning holds, to the letter.
    directives = {"language_level": "3", "annotation_typing": False}
    made: list[Extension] = cythonize(found, build_dir="build/cython", compiler_directives=directives, quiet=True)
    for one in made:
        one.optional = True
    return made


setup(ext_modules=extensions(), options={"build_ext": {"parallel": len(os.sched_getaffinity(0))}})
