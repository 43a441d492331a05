"""``extproc doctor``: asks an Envoy, or reads what it said, and prints the diagnosis."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from extproc.doctor.diagnosis import diagnose, healthy
from extproc.doctor.envoy_dump import Evidence, document, quoted, stats
from extproc.doctor.rendering_drift import drift
from extproc.errors import SetupError
from extproc.lint import findings
from extproc.policyfile import loader

MAX_SIZE = 256 << 20
"""Bytes of one document: config_dump of a large mesh has tens of millions."""
_TIMEOUT = 20.0
"""Seconds for each read."""
_STATS = "/stats?filter=ext_proc|downstream_rq_completed|upstream_rq_pending_overflow"


def run(
    url: str | None,
    config_dump: Path | None,
    clusters: Path | None,
    stats_file: Path | None,
    policies: Sequence[Path],
    as_json: bool,
) -> int:
    """Prints the diagnosis to stdout. The exit status: 0 where all is well, 1 where anything was found.

    Either ``url``, Envoy's admin address, or files that hold what it said. ``policies``: from which its filters should
    be rendered. Raises ``SetupError`` where there is nothing to judge by, and ``PolicyProblems``.
    """
    if url and (clusters or stats_file):
        raise SetupError("--clusters and --stats belong to --config-dump; --envoy-admin asks for them itself")
    source = url or str(config_dump)
    evidence = ask(url) if url else _read(config_dump, clusters, stats_file)
    found = diagnose(evidence, source)
    if policies:
        found += drift(evidence, loader.load(policies).snapshot, source)
    if as_json:
        sys.stdout.write(findings.report(found, source=source))
    else:
        sys.stdout.write(findings.text(found, healthy(evidence) if not found else ""))
    return 1 if found else 0


def ask(url: str) -> Evidence:
    """What the Envoy at ``url`` says. Raises ``SetupError`` where that is no Envoy, or it does not answer."""
    split = urlsplit(url if "//" in url else f"//{url}", "http")
    try:
        host, port = split.hostname, split.port
    except ValueError:
        host = port = None
    if split.scheme != "http" or not host:
        raise SetupError(f"{url!r} is no address of an admin port; write it as in http://127.0.0.1:9901")
    connection = http.client.HTTPConnection(host, port or 80, timeout=_TIMEOUT)
    try:
        server = _envoy(connection, url)
        return Evidence(
            config_dump=document(_get(connection, "/config_dump", url), "config_dump"),
            clusters=document(_get(connection, "/clusters?format=json", url), "clusters"),
            stats=stats(_get(connection, _STATS, url).decode("utf-8", "replace")),
            server=server,
        )
    finally:
        connection.close()


def _envoy(connection: http.client.HTTPConnection, url: str) -> dict[str, object]:
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


def _read(config_dump: Path | None, clusters: Path | None, stats_file: Path | None) -> Evidence:
    if config_dump is None:
        raise SetupError("nothing to look at; give --envoy-admin URL, or --config-dump FILE")
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
