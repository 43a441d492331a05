"""The chat models: keys, certificates, an address in every answer."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from extproc.demo.model_servers import INSTANT
from extproc.demo.pipeline.models import ADDRESS, SERVER_NAME, ChatModel, issue
from extproc.errors import SetupError

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def ask(server: ChatModel, **sent: str) -> tuple[int, Any]:
    async def main() -> tuple[int, Any]:
        async with server.running(), aiohttp.ClientSession() as session:
            url = f"http://{server.endpoint}/v1/chat/completions"
            async with session.post(url, json=BODY, headers=sent) as answer:
                return answer.status, await answer.json(content_type=None) if answer.status == 200 else None

    return asyncio.run(main())


def test_an_address_stands_in_every_answer() -> None:
    server = ChatModel("llm", "m", INSTANT)
    status, answer = ask(server, authorization="Bearer any")
    assert status == 200
    assert ADDRESS in answer["choices"][0]["message"]["content"]
    assert server.arrivals[0].keys == ("Bearer any",)


@pytest.mark.parametrize(("key", "status"), [("Bearer right", 200), ("Bearer wrong", 401), ("right", 401)])
def test_without_the_key_there_is_no_answer(key: str, status: int) -> None:
    server = ChatModel("hosted", "m", INSTANT, key="right")
    assert ask(server, authorization=key)[0] == status
    assert server.arrivals[0].keys == (key,)


def test_the_certificate_is_the_servers(tmp_path: Path) -> None:
    made = issue(tmp_path)
    trust = ssl.create_default_context(cafile=str(made.certificate))

    async def main(name: str) -> int:
        server = ChatModel("hosted", "m", INSTANT)
        async with server.running(tls=made.context()), aiohttp.ClientSession() as session:
            url = f"https://{server.endpoint}/v1/chat/completions"
            async with session.post(url, json=BODY, ssl=trust, server_hostname=name) as answer:
                return answer.status

    assert asyncio.run(main(SERVER_NAME)) == 200
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        asyncio.run(main("other.example.com"))


def test_without_openssl_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SetupError, match="apt-get install openssl"):
        issue(tmp_path)


def test_an_openssl_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="openssl could make no certificate: "):
        issue(tmp_path / "nowhere")
