"""Another checkout of this tree beside it: `--earlier NAME=FOLDER`, to see what changes since then cost or gain.

Its processor and its filters of Envoy are both as that checkout has them, by Python and packages of this one.
"""

from __future__ import annotations

import argparse
import subprocess
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import yaml

from benchmarks import ours
from benchmarks.mesh.scenarios import Doc, Scenario, serve
from extproc.render.envoy.envoy_options import PROCESSOR


def add_flag(parser: argparse.ArgumentParser) -> None:
    """``--earlier``, whose values are scenarios."""
    parser.add_argument(
        "--earlier",
        action="append",
        type=earlier,
        default=[],
        metavar="NAME=FOLDER",
        help="another checkout of this tree (`git worktree add ../before COMMIT`), compiled in the same way, with "
        "Envoy set up as its `render envoy` does. May be given more than once",
    )


def earlier(text: str) -> Scenario:
    """The scenario that a value of ``--earlier`` describes: as users had it. Raises ``ArgumentTypeError``."""
    name, _, folder = text.partition("=")
    root = Path(folder).absolute()
    if not name or not folder or not (root / "extproc" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=FOLDER of a checkout")
    found = Scenario(name, serve(root=root), body="buffered", observe=True, account=True)
    return msgspec.structs.replace(found, edit=partial(_set, root, found.policy("127.0.0.1:9")))


def _set(root: Path, policy: str, document: Doc) -> None:
    """Puts its filters and access log, and its cluster of processors, into a document of ours."""
    with TemporaryDirectory(prefix="earlier-") as directory:
        file = Path(directory, "policy.yaml")
        file.write_text(policy)
        command = [*ours.command(root=root), "render", "envoy", "-f", str(file), "--access-log", "", "--fail-closed"]
        rendered = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    manager, before = _manager(document), _manager(rendered)
    for field in ("http_filters", "access_log"):
        manager.pop(field, None)
        if field in before:
            manager[field] = before[field]
    processors = _cluster(document)
    where = {key: processors[key] for key in ("type", "load_assignment")}
    processors.clear()
    processors.update(_cluster(rendered) | where)


def _manager(document: Doc) -> Doc:
    found: Doc = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def _cluster(document: Doc) -> Doc:
    found: Doc
    (found,) = (one for one in document["static_resources"]["clusters"] if one["name"] == PROCESSOR)
    return found
