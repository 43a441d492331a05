"""What Envoy's admin port says: fetched from it, or read from files in which its answers were saved."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from extproc.doctor.envoy_dump import Evidence, document, quoted, stats
from extproc.errors import SetupError

MAX_SIZE = 256 << 20
"""Bytes of one document; the config_dump of a large mesh has tens of millions."""
_TIMEOUT = 20.0
"""Seconds for connecting, and for each read."""
_STATS_PATH = "/stats?filter=ext_proc|downstream_rq_completed|upstream_rq_pending_overflow|grpc_access_log"


def fetch(url: str) -> Evidence:
    """What the Envoy whose admin port is at ``url`` says. Raises ``SetupError`` where that is none, or is silent."""
    try:
        split = urlsplit(url if "//" in url else f"//{url}", "http")
        host, port = (split.hostname, split.port) if split.scheme == "http" else (None, None)
    except ValueError:
        host = port = None
    if not host:
        raise SetupError(f"{url!r} is no address of an admin port; write it as in http://127.0.0.1:9901")
    connection = http.client.HTTPConnection(host, port or 80, timeout=_TIMEOUT)
    try:
        server = _server_info(connection, url)
        return Evidence(
            config_dump=document(_get(connection, "/config_dump", url), "config_dump"),
            clusters=document(_get(connection, "/clusters?format=json", url), "clusters"),
            stats=stats(_get(connection, _STATS_PATH, url).decode("utf-8", "replace")),
            server=server,
        )
    finally:
        connection.close()


def _server_info(connection: http.client.HTTPConnection, url: str) -> dict[str, object]:
    try:
        server = dict(document(_get(connection, "/server_info", url), "server_info"))
    except SetupError as error:
        if error.__cause__ is not None:
            raise
        server = {}
    if "version" not in server or "state" not in server:
        raise SetupError(
            f"what answers at {url} is no Envoy's admin port; it is the address of `admin` in the bootstrap"
        )
    return server


def _get(connection: http.client.HTTPConnection, path: str, url: str) -> bytes:
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(MAX_SIZE + 1)
    except (OSError, http.client.HTTPException) as error:
        raise SetupError(f"{url} does not answer: {error}; in Istio: kubectl port-forward POD 15000") from error
    if len(body) > MAX_SIZE:
        raise SetupError(f"{path} of {url} has more than {MAX_SIZE >> 20} MiB")
    if response.status != 200:
        raise SetupError(f"{url}{path} answers {response.status}; {quoted(body)}")
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
