"""What official SDKs make of answers, and raise for our errors and Envoy's: ``make test-clients``. Writes
``docs/clients.md``.

Arguments: the Python of an environment with the SDKs of ``requirements.txt``, and the folder of ``node_modules`` with
those of ``package.json``. A call whose SDK is not there is skipped, and the page is written only where none is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from extproc.exchange.notes import Observed
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.telemetry.tap import OpenTaps
from tests.clients.answers import TEXT, Answered, Model
from tests.clients.refusing import ANSWERS, TITLES, Gateway, fault, refusing
from tests.envoy.conftest import ModelServer
from tests.house.tree import ROOT
from tests.waiting import until

PAGE = ROOT / "docs" / "clients.md"
TENSORS = ("tritonclient", "grpcio-status", "huggingface_hub feature_extraction")
"""Calls that ask for no text."""
HEAD = """# What official clients see

Each call, made by the SDK through a real Envoy and the real processor, with the versions of
`tests/clients/requirements.txt` and, those of npm, `tests/clients/package.json`; made by `make test-clients`.

- *works*: the SDK takes the answer of a server that speaks the API.
- *version*: the processor counts it for the version whose server has answered, of two that get half of the requests.
- *tokens*: of input and output, the processor counts as many as the SDK shows. A dash: it shows none.
- *503* and so on: the exception that it raises for an error of ours or of Envoy's, whose message is the one that was
  answered. A dash: the call names no model, and `POST /` may be anybody's, so it is not refused.
- *503 of Envoy*, three times: no server of the version is known, none listens, and one closes the connection in place
  of an answer. *504*: none answered within the policy's `timeout`. *400*: a body that can't be read, with
  `onUnreadable: reject`. *413*: one beyond `limits.maxBody`.
- *ask again*: the exception shows when to (`retry-after`, or gRPC's `RetryInfo`), after a 429.

`make test-clients` also follows sessions of the MCP SDK and stored objects of OpenAI's through a restart of processors.
`make test-mlserver` has real MLServers, with REST and gRPC on two ports each, under one policy: sticky users get one
version by both, asked by `tritonclient`.

Every path that these SDKs can call is [read](apis.md), or listed with the reason why it is not: those of PyPI's in
`tests/clients/test_sdk_paths.py`; those of npm's are taken from their sources each time (`tests/clients/npm_paths.py`).

"""


def page(rows: list[dict[str, Any]], answered: list[Outcome]) -> str:
    """The table of what was answered and raised."""
    lines = [
        f"| call | works | version | tokens | {' | '.join(TITLES)} | ask again |",
        "|-|-|-|-|" + "-|" * (len(TITLES) + 1),
    ]
    tokens = {one.call: "equal" if one.tokens[0] else "-" for one in answered}
    for call in dict.fromkeys(row["call"] for row in rows):
        mine = [row for row in rows if row["call"] == call]
        raised = [dict.fromkeys(r["class"] for r in mine if ANSWERS[r["model"]].title == title) for title in TITLES]
        cells = [", ".join(f"`{name}`" for name in names) or "-" for names in raised]
        again = "shown" if any(row["again"] for row in mine if row["model"] == "limited") else "not shown"
        lines.append(f"| {call} | yes | right | {tokens[call]} | {' | '.join(cells)} | {again} |")
    return HEAD + "\n".join(lines) + "\n"


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
        command = [*maker, "refused", json.dumps(refusing(stack))]
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600).stdout
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
