"""What official SDKs raise for our errors and Envoy's: ``make test-clients``. Writes ``docs/clients.md``.

Argument: the Python of an environment with the SDKs of ``requirements.txt``. A call whose SDK it lacks is skipped.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from extproc.gateway.envoy_process import Envoy
from extproc.headers import MODEL_VERSION
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.envoy.conftest import Processor, aborting
from tests.house.tree import ROOT

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
}
"""Exception classes by the beginning of the call's name, in the order of ``ANSWERS``; the first that fits counts."""
SILENT = ("tritonclient", "ollama")
"""SDKs whose exceptions do not show the headers of an answer."""
HEAD = """# What official clients raise

The exception that each SDK raises for an error of ours or of Envoy's, where its message is the one that was answered.
Last, whether the exception shows when to ask again (`retry-after`, or gRPC's `RetryInfo`) after a 429. A dash: the call
names no model, so no model can be one that nobody owns. Made by `make test-clients` with the versions of
`tests/clients/requirements.txt`.

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


def page(rows: list[dict[str, Any]]) -> str:
    """The table of what was raised."""
    lines = [
        f"| call | {' | '.join(name for name, _ in ANSWERS.values())} | when to ask again |",
        "|-|" + "-|" * (len(ANSWERS) + 1),
    ]
    for call in dict.fromkeys(row["call"] for row in rows):
        mine = {row["model"]: row for row in rows if row["call"] == call}
        cells = [f"`{mine[model]['class']}`" if model in mine else "-" for model in ANSWERS]
        lines.append(f"| {call} | {' | '.join(cells)} | {'shown' if mine['limited']['again'] else 'not shown'} |")
    return HEAD + "\n".join(lines) + "\n"


class Gateway:
    """A real Envoy and the real processor, by these policies."""

    def __init__(self, stack: ExitStack, policies: Snapshot) -> None:
        processor = Processor(policies)
        stack.callback(processor.stop)
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(processor.address,), access_log=""
        )
        document = bootstrap(policies, options)
        aborting(document, {"limited": 429}, MODEL_VERSION)
        envoy = stack.enter_context(Envoy(document, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        envoy.wait_ready()
        self.url = f"http://{envoy.listen_address}"


def run(python: str) -> list[dict[str, Any]]:
    """Every call through a real Envoy and the real processor."""
    with ExitStack() as stack:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        named = snapshot(f"127.0.0.1:{closed.getsockname()[1]}")
        urls = {"": Gateway(stack, named).url}
        for model in named.by_name:
            urls[model] = Gateway(stack, everything(named, model)).url
        command = [python, str(Path(__file__).with_name("calls.py")), json.dumps(urls), *ANSWERS]
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout
    return [json.loads(line) for line in printed.splitlines()]


def main() -> int:
    """Prints every fault; returns the exit status."""
    found = run(sys.argv[1])
    made = [row for row in found if "skipped" not in row]
    for row in found:
        if "skipped" in row:
            print(f"skipped: {row['call']}: {row['skipped']}")
    faults = [f"{row['call']}, {row['model']}: {why}" for row in made if (why := fault(row))]
    print(*faults, f"{len(made) - len(faults)} of {len(made)} calls raised what they should", sep="\n")
    if not faults and len(made) == len(found):
        PAGE.write_text(page(made))
    return 1 if faults or not made else 0


if __name__ == "__main__":
    sys.exit(main())
