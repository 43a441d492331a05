"""`python -m benchmarks.mesh.instructions`: Envoy's instructions for a request, by variant of its configuration.

Counted by callgrind, so other load does not show. One connection, a 0.5 KB chat, all requests one after the other.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.mesh.bench import RunningScenario
from benchmarks.mesh.external import without_health_checks
from benchmarks.mesh.load import Workload
from benchmarks.mesh.scenarios import Doc, Scenario
from benchmarks.mesh.upstream import start_upstream
from benchmarks.mesh.variants import variants
from extproc.render.envoy.envoy_options import ROUTE_FILTER

CHAT = Workload("0.5 KB", 512, 1, tokens=200)
WARM = 30
"""Requests before the count begins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Progress on stderr, JSON on stdout; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mesh.instructions",
        description="Envoy's instructions for a request, by variant of its configuration: a minute each.",
        epilog="Needs valgrind (Debian: apt-get install valgrind).",
    )
    parser.add_argument("--requests", type=int, default=200, help="that are counted (default: %(default)s)")
    parser.add_argument("--variant", action="append", metavar="REGEX", help="only variants whose names match")
    options = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        print("valgrind is missing, nothing was counted; on Debian: apt-get install valgrind", file=sys.stderr)
        return 1
    found = {}
    for variant in variants():
        if options.variant is None or any(re.search(text, variant.name) for text in options.variant):
            found[variant.name] = count(variant, options.requests)
            print(f"{variant.name}: {found[variant.name]:,} instructions a request", file=sys.stderr)
    print(json.dumps(found, indent=2))
    return 0


def count(variant: Scenario, requests: int) -> int:
    """Envoy's instructions for each of so many requests. Raises RuntimeError where one fails."""

    def patient(document: Doc) -> None:
        """Under valgrind Envoy is slow, and health checks would be counted too."""
        if variant.edit is not None:
            variant.edit(document)
        without_health_checks(document)
        for one in document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]:
            for http_filter in one["typed_config"]["http_filters"]:
                if http_filter["name"] == ROUTE_FILTER:
                    http_filter["typed_config"]["message_timeout"] = "60s"

    with TemporaryDirectory(prefix="instructions-") as name, ExitStack() as stack:
        directory = Path(name)
        under = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory}/%p"]
        upstream = start_upstream(stack, directory / "upstream")
        scenario = msgspec.structs.replace(variant, edit=patient)
        standing = RunningScenario(scenario, stack, directory / "scenario", upstream, under)
        connection = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", standing.port, timeout=60)))
        pid = str(standing.envoy.pid)
        _ask(connection, WARM)
        _control("-i", "on", pid)
        _ask(connection, WARM)  # what was translated without counting is translated anew
        _control("-z", pid)
        _ask(connection, requests)
        _control("-d", "counted", pid)
        dumps = [file.read_text(errors="replace") for file in directory.glob(f"{pid}.*")]
    totals = [int(total) for dump in dumps for total in re.findall(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)]
    return max(totals) // requests


def _control(*words: str) -> None:
    command = ["callgrind_control", *words]
    subprocess.run(command, check=True, capture_output=True)


def _ask(connection: http.client.HTTPConnection, times: int) -> None:
    for _ in range(times):
        connection.request("POST", CHAT.path, CHAT.payload(), CHAT.headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a request was answered with {answer.status}")


if __name__ == "__main__":
    raise SystemExit(main())
