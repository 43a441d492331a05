"""The pipeline's chat models: one of its own, and one that somebody else hosts behind HTTPS and wants a key for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from extproc.demo.model_servers import OpenAIServer, Pace
from extproc.demo.pipeline.stages import Arrival, arrival
from extproc.errors import SetupError

SERVER_NAME = "models.example.com"
"""The name in the hosted model's certificate."""
ADDRESS = "ops@example.com"
"""Stands in every answer; postprocessing takes it out."""


class ChatModel(OpenAIServer):
    """An OpenAI-compatible server that records which service it was, and every key that it was sent."""

    def __init__(self, service: str, model: str, pace: Pace, seed: int | None = None, key: str = "") -> None:
        """``key``: without it there is no answer; empty: none is wanted."""
        super().__init__([model], pace, seed)
        self.arrivals: list[Arrival] = []
        self._service = service
        self._key = key

    def record_request(self, request: web.Request, model: str) -> None:
        """Records ``request``; raises HTTP's 401 where it has not the key."""
        super().record_request(request, model)
        self.arrivals.append(arrival(self._service, request.headers.items()))
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            raise web.HTTPUnauthorized

    def answer(self, body: dict[str, Any]) -> list[str]:
        """The words of the answer, with an address among them."""
        return [*super().answer(body), "says", ADDRESS]


class Certificate(msgspec.Struct, frozen=True):
    """Of the hosted model, issued by itself: PEM files."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For the server."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.load_cert_chain(self.certificate, self.key)
        return found


def issue(directory: Path) -> Certificate:
    """A new certificate for ``SERVER_NAME`` in ``directory``. Raises ``SetupError``: OpenSSL's program makes it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise SetupError("the hosted model's certificate needs openssl; on Debian: apt-get install openssl")
    made = Certificate(directory / "hosted-ca.pem", directory / "hosted-key.pem")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    names = ("-subj", f"/CN={SERVER_NAME}", "-addext", f"subjectAltName=DNS:{SERVER_NAME}")
    command = [openssl, "req", "-x509", *curve, *names, "-days", "2"]
    command += ["-out", str(made.certificate), "-keyout", str(made.key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise SetupError(f"openssl could make no certificate: {done.stderr.strip().splitlines()[-1]}")
    return made
