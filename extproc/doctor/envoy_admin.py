"""What Envoy's admin port says: fetched from it, or read from files in which its answers were saved."""

from __future__ import annotations

from pathlib import Path

from extproc.doctor.envoy_dump import Evidence, document, quoted, stats
from extproc.errors import SetupError, cause
from extproc.fetch.answer_reader import BadAnswerError
from extproc.fetch.steps import get, run
from extproc.fetch.url import parse

MAX_SIZE = 256 << 20
"""Bytes of one document; the config_dump of a large mesh has tens of millions."""
_TIMEOUT = 60.0
"""Seconds for each document."""
_STATS_PATH = "/stats?filter=ext_proc|downstream_rq_completed|upstream_rq_pending_overflow|grpc_access_log"


def fetch(url: str) -> Evidence:
    """What the Envoy whose admin port is at ``url`` says. Raises ``SetupError`` where that is none, or is silent."""
    base = (url if "//" in url else f"http://{url}").rstrip("/")
    try:
        usable = not parse(base).tls
    except ValueError:
        usable = False
    if not usable:
        raise SetupError(f"{url!r} is no address of an admin port; write it as in http://127.0.0.1:9901")
    server = _server_info(base)
    return Evidence(
        config_dump=document(_get(base, "/config_dump"), "config_dump"),
        clusters=document(_get(base, "/clusters?format=json"), "clusters"),
        stats=stats(_get(base, _STATS_PATH).decode("utf-8", "replace")),
        server=server,
    )


def _server_info(url: str) -> dict[str, object]:
    try:
        server = dict(document(_get(url, "/server_info"), "server_info"))
    except SetupError as error:
        if error.__cause__ is not None:
            raise
        server = {}
    if "version" not in server or "state" not in server:
        raise SetupError(
            f"what answers at {url} is no Envoy's admin port; it is the address of `admin` in the bootstrap"
        )
    return server


def _get(url: str, path: str) -> bytes:
    try:
        status, body = run(get(parse(url + path), _TIMEOUT, MAX_SIZE))
    except BadAnswerError as error:
        raise SetupError(f"{path} of {url}: {error}") from error
    except (OSError, ValueError) as error:
        raise SetupError(f"{url} does not answer: {cause(error)}; in Istio: kubectl port-forward POD 15000") from error
    if status != 200:
        raise SetupError(f"{url}{path} answers {status}; {quoted(body)}")
    return body


def read_files(config_dump: Path, clusters: Path | None, stats_file: Path | None) -> Evidence:
    """What an Envoy said, from files. Raises ``SetupError`` for a file that can't be read or holds something else."""
    return Evidence(
        config_dump=document(_file(config_dump), str(config_dump)),
        clusters=document(_file(clusters), str(clusters)) if clusters else None,
        stats=stats(_file(stats_file).decode("utf-8", "replace")) if stats_file else None,
    )


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise SetupError(f"{path} can't be read: {error.strerror}") from error
    if len(text) > MAX_SIZE:
        raise SetupError(f"{path} has more than {MAX_SIZE >> 20} MiB")
    return text
