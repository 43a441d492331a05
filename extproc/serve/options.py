"""Options of ``extproc serve``, the command line that says them, and the addresses of several workers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from extproc.errors import SetupError

_REPEATED = ("listen", "namespace", "inference_pool", "inference_pools_of")
"""Flags that may be given more than once."""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one processor; ``extproc serve --help`` explains each."""

    policies: tuple[Path, ...] = ()
    """Policy files and directories of them."""
    kubernetes: bool = False
    """Whether to read the policies of a cluster, too."""
    namespace: tuple[str, ...] = ()
    """Whose policies to read of it; none: all."""
    inference_pool: tuple[str, ...] = ()
    """InferencePools of a cluster to pick endpoints for, as ``namespace/name``."""
    inference_pools_of: tuple[str, ...] = ()
    """Services, as ``namespace/name``: all InferencePools of which they are the endpoint picker."""
    snapshot_directory: Path | None = None
    """Where they are kept for a start without the API server."""
    listen: tuple[str, ...] = ("127.0.0.1:50051",)
    """``host:port`` or ``unix:///path``."""
    admin: str = "127.0.0.1:9090"
    """``host:port`` or ``unix:///path``; workers have the latter."""
    drain: float = 5.0
    """Seconds between failing health and refusing new streams: long enough for every Envoy to have seen it."""
    grace: float = 30.0
    """Seconds that open streams then have to finish."""
    workers: int = 1
    max_streams: int = 10_000
    keepalive: float = 60.0
    engine: Literal["http2", "aio"] = "http2"
    locality: str = ""
    """Of the proxies for which it decides: ``region/zone``."""
    otlp: str = ""
    """URL of an OpenTelemetry collector; empty: none."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    session_key: Path | None = None
    """File with the keys of session tags; None: there are none."""
    supervised: bool = False
    """Whether it is a worker, whose supervisor drives rollouts for all of them."""
    siblings: int = 1
    """Workers that share the bounds of circuit breakers, itself included."""
    board: int | None = None
    """File descriptor of the memory that workers share; None: the process makes it."""
    board_row: int = 0
    """The worker's own part of it, from 0."""

    @property
    def in_cluster(self) -> bool:
        """Whether anything is read from a cluster."""
        return self.kubernetes or bool(self.inference_pool or self.inference_pools_of)

    @property
    def tls_files(self) -> tuple[Path | None, Path | None, Path | None]:
        """Certificate, key and clients' authority, as far as they are named."""
        return self.tls_cert, self.tls_key, self.tls_client_ca

    def for_worker(self, number: int, admin: str) -> ServeOptions:
        """The options of the worker with this number (from 0)."""
        listen = tuple(nth_address(one, number) for one in self.listen)
        mine = {"listen": listen, "admin": admin, "board_row": number}
        return msgspec.structs.replace(self, **mine, workers=1, supervised=True, siblings=self.workers)

    def arguments(self) -> list[str]:
        """The arguments of ``extproc`` that say the same."""
        words = ["serve"]
        for path in self.policies:
            words += ["-f", str(path)]
        for name in _REPEATED:
            for value in getattr(self, name):
                words += [f"--{name.replace('_', '-')}", value]
        words += ["--kubernetes"] if self.kubernetes else []
        words += ["--supervised"] if self.supervised else []
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            said = ("policies", "kubernetes", "supervised", *_REPEATED)
            if field.name not in said and value not in (None, ""):
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return words


def nth_address(listen: str, number: int) -> str:
    """The address of the worker with this number (from 0), where ``listen`` is what they share."""
    if listen.startswith("unix:"):
        return f"{listen}-{number + 1}"
    host, _, port = listen.rpartition(":")
    return f"{host}:{int(port) + number if int(port) else 0}"


def spread_addresses(listen: tuple[str, ...], workers: int) -> tuple[str, ...]:
    """Every address of so many workers. Raises ``SetupError`` where two are equal or a port exceeds 65535."""
    if workers == 1:
        return listen
    found = tuple(nth_address(one, number) for number in range(workers) for one in listen)
    for one in found:
        if found.count(one) > 1 and not one.endswith(":0"):
            raise SetupError(f"two of {workers} workers would listen on {one}; set the --listen further apart")
        if not one.startswith("unix:") and int(one.rpartition(":")[2]) > 65535:
            raise SetupError(f"{workers} workers need as many ports from --listen on, and there is no {one}")
    return found
