"""What official SDKs raise for our errors and Envoy's: ``make test-clients``. Writes ``docs/clients.md``.

Argument: the Python of an environment with the SDKs of ``requirements.txt``. A call whose SDK it lacks is skipped.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from extproc.gateway.envoy_process import Envoy
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.envoy.conftest import Processor
from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "clients.md"
ANSWERS = {
    "no-gpu": ("503", "no GPU pool can serve the model 'no-gpu' at present"),
    "dead": ("503 of Envoy", "No model server can take this request now."),
    "unowned": ("404", "the model 'unowned' is not served here"),
}
"""By model: what is answered, and the words that the SDK has to show."""
CLASSES = {
    "openai": ("InternalServerError", "InternalServerError", "NotFoundError"),
    "anthropic": ("ServiceUnavailableError", "ServiceUnavailableError", "NotFoundError"),
    "google-genai": ("ServerError", "ServerError", "ClientError"),
    "cohere": ("ServiceUnavailableError", "ServiceUnavailableError", "NotFoundError"),
    "ollama": ("ResponseError",) * 3,
    "mistralai": ("SDKError",) * 3,
    "boto3 bedrock": ("ServiceUnavailableException", "ServiceUnavailableException", "ResourceNotFoundException"),
    "boto3 sagemaker": ("ServiceUnavailable", "ServiceUnavailable", "ValidationError"),
    "tritonclient": ("InferenceServerException",) * 3,
}
"""Exception classes by the beginning of the call's name, in the order of ``ANSWERS``."""
HEAD = """# What official clients raise

The exception that each SDK raises for an error of ours or of Envoy's, where its message is the one that was answered.
Made by `make test-clients` with the versions of `tests/clients/requirements.txt`.

"""


def snapshot(dead: str) -> Snapshot:
    """Policies for the models of ``ANSWERS``. ``dead``: an address where nobody listens."""
    return Snapshot(
        (
            Policy("no-gpu", models=("no-gpu",), gpu=Requirement(memory=1 << 20), reject_unowned=True),
            Policy("dead", models=("dead",), versions=(Version("v1", 1, (dead,)),)),
        ),
        (GpuPool("small", Gpu(architecture="a100", memory=40960), (dead,)),),
    )


def fault(found: dict[str, Any]) -> str:
    """What is wrong with the outcome of a call; empty where it is right."""
    expected = next(classes for name, classes in CLASSES.items() if found["call"].startswith(name))
    models = list(ANSWERS)
    wanted, words = expected[models.index(found["model"])], ANSWERS[found["model"]][1]
    if found["class"] != wanted:
        return f"raised {found['class'] or 'nothing'}, not {wanted}: {found['message'][:200]}"
    return "" if words in found["message"] else f"its message is {found['message'][:200]}"


def page(rows: list[dict[str, Any]]) -> str:
    """The table of what was raised."""
    lines = [f"| call | {' | '.join(name for name, _ in ANSWERS.values())} |", "|-|" + "-|" * len(ANSWERS)]
    for call in dict.fromkeys(row["call"] for row in rows):
        cells = [f"`{row['class']}`" if not fault(row) else "**wrong**" for row in rows if row["call"] == call]
        lines.append(f"| {call} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def run(python: str) -> list[dict[str, Any]]:
    """Every call through a real Envoy and the real processor."""
    with socket.socket() as closed, tempfile.TemporaryDirectory() as folder:
        closed.bind(("127.0.0.1", 0))
        policies = snapshot(f"127.0.0.1:{closed.getsockname()[1]}")
        processor = Processor(policies)
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(processor.address,), access_log=""
        )
        try:
            with Envoy(bootstrap(policies, options), Path(folder)) as envoy:
                envoy.wait_ready()
                script = Path(__file__).with_name("calls.py")
                command = [python, str(script), f"http://{envoy.listen_address}", *ANSWERS]
                printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout
        finally:
            processor.stop()
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
