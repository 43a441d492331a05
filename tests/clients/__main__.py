"""What official SDKs make of answers, and raise for our errors and Envoy's: ``make test-clients``. Writes
``docs/clients.md``.

Arguments: the Python of an environment with the SDKs of ``requirements.txt``, and the folder of ``node_modules`` with
those of ``package.json``. A call whose SDK is not there is skipped, and the page is written only where none is.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from extproc.exchange.notes import Observed
from extproc.gateway.envoy_process import Envoy
from extproc.headers import MODEL_VERSION
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.telemetry.tap import OpenTaps
from tests.clients.answers import TEXT, Answered, Model
from tests.envoy.conftest import ModelServer, Processor, aborting
from tests.house.tree import ROOT
from tests.waiting import until

PAGE = ROOT / "docs" / "clients.md"
ANSWERS = {
    "no-gpu": ("503", "no GPU pool can serve the model 'no-gpu' at present"),
    "dead": ("503 of Envoy", "No model server can take this request now."),
    "unowned": ("404", "the model 'unowned' is not served here"),
    "limited": ("429 of Envoy", "There are too many requests: try again later."),
}
"""By model: what is answered, and the words that the SDK has to show."""
_HUGGING_FACE = ("HfHubHTTPError", "HfHubHTTPError", "HfHubHTTPError", "HfHubHTTPError")
CLASSES = {
    "openai": ("InternalServerError", "InternalServerError", "NotFoundError", "RateLimitError"),
    "anthropic": ("ServiceUnavailableError", "ServiceUnavailableError", "NotFoundError", "RateLimitError"),
    "google-genai": ("ServerError", "ServerError", "ClientError", "ClientError"),
    "cohere": ("ServiceUnavailableError", "ServiceUnavailableError", "NotFoundError", "TooManyRequestsError"),
    "ollama": ("ResponseError",) * 4,
    "mistralai": ("SDKError",) * 4,
    "boto3 bedrock": (
        *("ServiceUnavailableException", "ServiceUnavailableException", "ResourceNotFoundException"),
        "ThrottlingException",
    ),
    "boto3 sagemaker": ("ServiceUnavailable", "ServiceUnavailable", "ValidationError", "ClientError"),
    "tritonclient": ("InferenceServerException",) * 4,
    "grpcio-status": (
        *("UNAVAILABLE, ErrorInfo, RetryInfo", "UNAVAILABLE, ErrorInfo, RetryInfo", "NOT_FOUND, ErrorInfo"),
        "UNAVAILABLE, ErrorInfo, RetryInfo",
    ),
    "huggingface_hub text_generation": ("OverloadedError",) * 4,
    "huggingface_hub": _HUGGING_FACE,
    "npm openai": ("InternalServerError", "InternalServerError", "NotFoundError", "RateLimitError"),
    "npm @anthropic-ai/sdk": ("ServiceUnavailableError", "ServiceUnavailableError", "NotFoundError", "RateLimitError"),
    "npm @google/genai": ("ApiError",) * 4,
    "npm cohere-ai": (
        *("ServiceUnavailableError", "ServiceUnavailableError", "NotFoundError", "TooManyRequestsError"),
    ),
    "npm ollama": ("ResponseError",) * 4,
    "npm @mistralai/mistralai": ("SDKError",) * 4,
    "npm @aws-sdk/client-bedrock-runtime": (
        *("ServiceUnavailableException", "ServiceUnavailableException", "ResourceNotFoundException"),
        "ThrottlingException",
    ),
}
"""Exception classes by the beginning of the call's name, in the order of ``ANSWERS``; the first that fits counts."""
TENSORS = ("tritonclient", "grpcio-status", "huggingface_hub feature_extraction")
"""Calls that ask for no text."""
SILENT = ("tritonclient", "ollama", "npm ollama", "npm @google/genai")
"""SDKs whose exceptions do not show the headers of an answer."""
HEAD = """# What official clients see

Each call, made by the SDK through a real Envoy and the real processor, with the versions of
`tests/clients/requirements.txt` and, those of npm, `tests/clients/package.json`; made by `make test-clients`.

- *works*: the SDK takes the answer of a server that speaks the API.
- *version*: the processor counts it for the version whose server has answered, of two that get half of the requests.
- *tokens*: of input and output, the processor counts as many as the SDK shows. A dash: it shows none.
- *503* and so on: the exception that it raises for an error of ours or of Envoy's, whose message is the one that was
  answered. A dash: the call names no model, so no model can be one that nobody owns.
- *ask again*: the exception shows when to (`retry-after`, or gRPC's `RetryInfo`), after a 429.

`make test-clients` also follows sessions of the MCP SDK and stored objects of OpenAI's through a restart of processors.
`make test-mlserver` has real MLServers, with REST and gRPC on two ports each, under one policy: sticky users get one
version by both, asked by `tritonclient`.

"""


def snapshot(dead: str) -> Snapshot:
    """Policies for the models of ``ANSWERS``. ``dead``: an address where nobody listens."""
    return Snapshot(
        (
            Policy("no-gpu", models=("no-gpu",), gpu=Requirement(memory=1 << 20), reject_unowned=True),
            Policy("dead", models=("dead",), versions=(Version("v1", 1, (dead,)),)),
            Policy("limited", models=("limited",), versions=(Version("limited", 1, (dead,)),)),
        ),
        (GpuPool("small", Gpu(architecture="a100", memory=40960), (dead,)),),
    )


def everything(named: Snapshot, model: str) -> Snapshot:
    """The policy of a model alone, as that of all requests, those without a model too."""
    return replace(named, policies=(replace(named.by_name[model], models=("*",), reject_unowned=False),))


def fault(found: dict[str, Any]) -> str:
    """What is wrong with the outcome of a call; empty where it is right."""
    expected = next(classes for name, classes in CLASSES.items() if found["call"].startswith(name))
    models = list(ANSWERS)
    wanted, words = expected[models.index(found["model"])], ANSWERS[found["model"]][1]
    if found["class"] != wanted:
        return f"raised {found['class'] or 'nothing'}, not {wanted}: {found['message'][:200]}"
    unnamed = words.replace(f"the model '{found['model']}'", "this request")
    if words not in found["message"] and unnamed not in found["message"]:
        return f"its message is {found['message'][:200]}"
    again = "1" if found["model"] == "limited" and not found["call"].startswith(SILENT) else ""
    if found["model"] == "limited" and found["again"] != again:
        return f"it shows to ask again after {found['again']!r}, not {again!r}"
    return ""


def page(rows: list[dict[str, Any]], answered: list[Outcome]) -> str:
    """The table of what was answered and raised."""
    lines = [
        f"| call | works | version | tokens | {' | '.join(name for name, _ in ANSWERS.values())} | ask again |",
        "|-|-|-|-|" + "-|" * (len(ANSWERS) + 1),
    ]
    tokens = {one.call: "equal" if one.tokens[0] else "-" for one in answered}
    for call in dict.fromkeys(row["call"] for row in rows):
        mine = {row["model"]: row for row in rows if row["call"] == call}
        cells = [f"`{mine[model]['class']}`" if model in mine else "-" for model in ANSWERS]
        again = "shown" if mine["limited"]["again"] else "not shown"
        lines.append(f"| {call} | yes | right | {tokens[call]} | {' | '.join(cells)} | {again} |")
    return HEAD + "\n".join(lines) + "\n"


class Gateway:
    """A real Envoy and the real processor, by these policies."""

    def __init__(self, stack: ExitStack, policies: Snapshot) -> None:
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
        aborting(document, {"limited": 429}, MODEL_VERSION)
        envoy = stack.enter_context(Envoy(document, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        envoy.wait_ready()
        self.url = f"http://{envoy.listen_address}"


class Notes(OpenTaps):
    """Keeps what the processor notes of answers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Observed] = []

    def note(self, observed: Observed) -> None:
        self.found.append(observed)


class Outcome(NamedTuple):
    """A call that a model server has answered."""

    call: str
    skipped: str
    fault: str
    """What is wrong with it."""
    tokens: tuple[int | None, int | None]
    """That the SDK shows, of input and output."""


def makers_of_calls(python: str, modules: Path) -> list[list[str]]:
    """The commands that make the calls by SDKs from PyPI and, where they are installed, from npm."""
    here = Path(__file__)
    found = [[python, str(here.with_name("calls.py"))]]
    if (modules / "node_modules").is_dir():
        found.append(["node", shutil.copy(str(here.with_name("calls.mjs")), str(modules))])
    return found


def run_answered(maker: list[str]) -> list[Outcome]:
    """Every call once, answered by one of two versions."""
    answered: list[Answered] = []
    with ExitStack() as stack:
        versions = []
        for seed, name in enumerate(("v1", "v2")):
            server = stack.enter_context(ModelServer(name))
            model = Model(name, answered, seed)
            server.then = model.answers(server)
            grpc_endpoints = (stack.enter_context(model.grpc()),)
            versions.append(Version(name, 1, (server.address,), grpc_endpoints=grpc_endpoints))
        gateway = Gateway(stack, Snapshot((Policy("any", models=("*",), versions=tuple(versions)),)))
        notes = gateway.processor.taps = Notes()
        command = [*maker, "answered", gateway.url]
        calls = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert calls.stdin is not None
        assert calls.stdout is not None
        found = []
        for line in calls.stdout:
            outcome = json.loads(line)
            shown = outcome["tokens"]
            wrong = outcome["error"]
            if not wrong and "skipped" not in outcome:
                until(lambda: len(notes.found) == len(answered))
                wrong = _difference(answered[-1], notes.found[-1], shown)
                if TEXT not in outcome["text"] and not outcome["call"].startswith(TENSORS):
                    wrong = f"it shows {outcome['text'][:200]}"
            del notes.found[:], answered[:]
            found.append(Outcome(outcome["call"], outcome.get("skipped", ""), wrong, (shown[0], shown[1])))
            calls.stdin.write("\n")
            calls.stdin.flush()
    return found


def _difference(answered: Answered, noted: Observed, shown: list[int | None]) -> str:
    """What the processor or the SDK has other than the server; empty where all agree."""
    if noted.version != answered.version:
        return f"{answered.version} has answered, and it is counted for {noted.version}"
    if shown != [None, None] and tuple(shown) != answered.tokens:
        return f"the SDK shows {shown} tokens of {answered.tokens}"
    counted = noted.input_tokens, noted.output_tokens
    if shown != [None, None] and counted != answered.tokens:
        return f"the processor counts {counted} tokens of {answered.tokens}"
    return ""


def run_refused(maker: list[str]) -> list[dict[str, Any]]:
    """Every call with each error, through a real Envoy and the real processor."""
    with ExitStack() as stack:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        named = snapshot(f"127.0.0.1:{closed.getsockname()[1]}")
        urls = {"": Gateway(stack, named).url}
        for model in named.by_name:
            urls[model] = Gateway(stack, everything(named, model)).url
        command = [*maker, "refused", json.dumps(urls), *ANSWERS]
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout
    return [json.loads(line) for line in printed.splitlines()]


def main() -> int:
    """Prints every fault; returns the exit status."""
    makers = makers_of_calls(sys.argv[1], Path(sys.argv[2]))
    if len(makers) == 1:
        print("skipped: npm's SDKs, which are not installed")
    answered = [one for maker in makers for one in run_answered(maker)]
    found = [row for maker in makers for row in run_refused(maker)]
    made = [row for row in found if "skipped" not in row]
    for row in found:
        if "skipped" in row:
            print(f"skipped: {row['call']}: {row['skipped']}")
    faults = [f"{row['call']}, {row['model']}: {why}" for row in made if (why := fault(row))]
    print(*faults, f"{len(made) - len(faults)} of {len(made)} calls raised what they should", sep="\n")
    wrong = [f"{one.call}: {one.fault}" for one in answered if one.fault]
    asked = sum(not one.skipped for one in answered)
    print(*wrong, f"{asked - len(wrong)} of {asked} calls were answered as they should", sep="\n")
    faults += wrong
    if not faults and len(made) == len(found) and len(makers) > 1:
        PAGE.write_text(page(made, answered))
    return 1 if faults or not made else 0


if __name__ == "__main__":
    sys.exit(main())
