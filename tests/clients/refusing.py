"""Gateways that refuse: one for each error of ours or of Envoy's, and what the SDKs of calls make of it."""

from __future__ import annotations

import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from extproc.gateway.envoy_process import Envoy
from extproc.headers import MODEL_VERSION
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import DEFAULT_BODY_LIMIT, GpuPool, Policy, Snapshot, Sticky, Version
from extproc.render.document import Doc
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.render.envoy.envoy_options import typed
from tests.envoy.conftest import Processor, aborting

_NO_SERVER = "No model server can take this request now."


class Answer(NamedTuple):
    """An error that a client gets."""

    title: str
    """The column of the page; those of one title are told there as one."""
    words: str
    """Those that the SDK has to show."""


ANSWERS = {
    "no-gpu": Answer("503", "no GPU pool can serve the model 'no-gpu' at present"),
    "no-server": Answer("503 of Envoy", _NO_SERVER),
    "unreachable": Answer("503 of Envoy", _NO_SERVER),
    "broken-off": Answer("503 of Envoy", _NO_SERVER),
    "late": Answer("504 of Envoy", "There was no answer in time."),
    "unowned": Answer("404", "the model 'unowned' is not served here"),
    "malformed": Answer("400", "no model can be read from the request ("),
    "large": Answer("413", "the request body is larger than the 1 bytes allowed"),
    "limited": Answer("429 of Envoy", "There are too many requests: try again later."),
}
"""By model. No server of ``no-server`` is known, none listens for ``unreachable``, that of ``broken-off`` closes the
connection in place of an answer, and that of ``late`` waits."""
TITLES = tuple(dict.fromkeys(answer.title for answer in ANSWERS.values()))

_SERVER, _UNAVAILABLE = "InternalServerError", "ServiceUnavailableError"
_OPENAI = (*(_SERVER,) * 3, "NotFoundError", "BadRequestError", "APIStatusError", "RateLimitError")
_ANTHROPIC = (
    *(_UNAVAILABLE, _UNAVAILABLE, "GatewayTimeoutError", "NotFoundError", "BadRequestError"),
    *("ContentTooLargeError", "RateLimitError"),
)
_GENAI = (*("ServerError",) * 3, *("ClientError",) * 4)
_COHERE = (
    *(_UNAVAILABLE, _UNAVAILABLE, "GatewayTimeoutError", "NotFoundError", "BadRequestError", "ApiError"),
    "TooManyRequestsError",
)
_BEDROCK = (
    *("ServiceUnavailableException", "ServiceUnavailableException", "ModelTimeoutException"),
    *("ResourceNotFoundException", "ValidationException", "ValidationException", "ThrottlingException"),
)
_SAGEMAKER = (
    *("ServiceUnavailable", "ServiceUnavailable", "InternalFailure"),
    *("ValidationError", "ValidationError", "ValidationError", "ClientError"),
)
_AGAIN = "UNAVAILABLE, ErrorInfo, RetryInfo"
_GRPC = (
    *(_AGAIN, _AGAIN, "UNAVAILABLE, ErrorInfo", "NOT_FOUND, ErrorInfo", "INVALID_ARGUMENT, ErrorInfo"),
    *("RESOURCE_EXHAUSTED, ErrorInfo", _AGAIN),
)
CLASSES = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "google-genai": _GENAI,
    "cohere": _COHERE,
    "ollama": ("ResponseError",) * 7,
    "mistralai": ("SDKError",) * 7,
    "boto3 bedrock": _BEDROCK,
    "boto3 sagemaker": _SAGEMAKER,
    "tritonclient": ("InferenceServerException",) * 7,
    "grpcio-status": _GRPC,
    "huggingface_hub text_generation": (
        "OverloadedError",
        "OverloadedError",
        "GenerationError",
        *("OverloadedError",) * 4,
    ),
    "huggingface_hub": (*("HfHubHTTPError",) * 4, "BadRequestError", *("HfHubHTTPError",) * 2),
    "npm openai": (*_OPENAI[:5], "APIError", *_OPENAI[6:]),
    "npm @anthropic-ai/sdk": _ANTHROPIC,
    "npm @google/genai": ("ApiError",) * 7,
    "npm cohere-ai": (*_COHERE[:5], "CohereError", *_COHERE[6:]),
    "npm ollama": ("ResponseError",) * 7,
    "npm @mistralai/mistralai": ("SDKError",) * 7,
    "npm @aws-sdk/client-bedrock-runtime": _BEDROCK,
}
"""Exception classes by the beginning of the call's name, in the order of ``TITLES``; the first that fits counts."""
SILENT = ("tritonclient", "ollama", "npm ollama", "npm @google/genai")
"""SDKs whose exceptions do not show the headers of an answer."""


class Gateway:
    """A real Envoy and the real processor, by these policies. ``alter`` changes what is rendered for Envoy."""

    def __init__(self, stack: ExitStack, policies: Snapshot, alter: Callable[[Doc], None] = lambda _: None) -> None:
        self.processor = Processor(policies)
        stack.callback(self.processor.stop)
        options = EnvoyOptions(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            processors=(self.processor.address,),
            access_log="",
            message_timeout=20.0,
        )
        document = bootstrap(policies, options)
        alter(document)
        envoy = stack.enter_context(Envoy(document, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        envoy.wait_ready()
        self.url = f"http://{envoy.listen_address}"


def refusing(stack: ExitStack) -> dict[str, str]:
    """URLs of gateways by the model of ``ANSWERS`` for which they refuse every request, those without a model too."""
    closed = stack.enter_context(socket.socket())
    closed.bind(("127.0.0.1", 0))
    dead = f"127.0.0.1:{closed.getsockname()[1]}"
    servers = {
        "broken-off": stack.enter_context(_server(_Breaking)),
        "late": stack.enter_context(_server(_Waiting)),
    }
    urls = {}
    for model in ANSWERS:
        version = Version(model, 1, (servers.get(model, dead),))
        # What has its model in the path has its body read all the same, for the sticky key.
        policy = Policy(
            model,
            models=("other",) if model == "unowned" else ("*",),
            versions=(version,),
            gpu=Requirement(memory=1 << 20) if model == "no-gpu" else None,
            reject_unowned=model == "unowned",
            reject_unreadable=model == "malformed",
            timeout=0.3 if model == "late" else None,
            sticky=Sticky(body=("user",)),
            body_limit=1 if model == "large" else DEFAULT_BODY_LIMIT,
        )
        pools = (GpuPool("small", Gpu(architecture="a100", memory=40960), (dead,)),) if model == "no-gpu" else ()
        urls[model] = Gateway(stack, Snapshot((policy,), pools), _ALTERED.get(model, lambda _: None)).url
    return urls


def fault(found: dict[str, Any]) -> str:
    """What is wrong with the outcome of a call; empty where it is right."""
    model = found["model"]
    expected = next(classes for name, classes in CLASSES.items() if found["call"].startswith(name))
    wanted, words = expected[TITLES.index(ANSWERS[model].title)], ANSWERS[model].words
    if found["class"] != wanted:
        return f"raised {found['class'] or 'nothing'}, not {wanted}: {found['message'][:200]}"
    unnamed = words.replace(f"the model '{model}'", "this request")
    if words not in found["message"] and unnamed not in found["message"]:
        return f"its message is {found['message'][:200]}"
    again = "1" if model == "limited" and not found["call"].startswith(SILENT) else ""
    if model == "limited" and found["again"] != again:
        return f"it shows to ask again after {found['again']!r}, not {again!r}"
    return ""


class _Breaking(socketserver.BaseRequestHandler):
    """Closes the connection once something is asked, by whichever protocol."""

    def handle(self) -> None:
        self.request.recv(1)


class _Waiting(socketserver.BaseRequestHandler):
    """Answers nothing until Envoy closes the connection."""

    def handle(self) -> None:
        while self.request.recv(65536):
            pass


@contextmanager
def _server(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """Its address."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _without_servers(document: Doc) -> None:
    emptied = [one for one in document["static_resources"]["clusters"] if "no-server" in one["name"]]
    assert len(emptied) == 2, "one for gRPC, and one for all else"
    for cluster in emptied:
        cluster["load_assignment"]["endpoints"] = []


def _mislabelling(document: Doc) -> None:
    """Bodies, and messages of gRPC, are no longer of the coding that their headers tell."""
    (listener,) = document["static_resources"]["listeners"]
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    told = [
        {"append": {"header": {"key": key, "value": "deflate"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
        for key in ("content-encoding", "grpc-encoding")
    ]
    kind = "extensions.filters.http.header_mutation.v3.HeaderMutation"
    filters.insert(0, typed("mislabel", kind, mutations={"request_mutations": told}))


def _limited(document: Doc) -> None:
    aborting(document, {"limited": 429}, MODEL_VERSION)


_ALTERED: dict[str, Callable[[Doc], None]] = {
    "no-server": _without_servers,
    "malformed": _mislabelling,
    "limited": _limited,
}
