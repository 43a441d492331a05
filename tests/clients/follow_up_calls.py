"""Sessions of the official MCP SDK, and objects that OpenAI's SDK stores.

``python follow_up_calls.py MCP_URL OPENAI_URL`` prints which servers answered each session and each user, in lines of
JSON; behind a round an empty object, and then it waits for a line of its input. Run by ``tests.clients.follow_ups``,
never imported.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from contextlib import AsyncExitStack
from typing import Any

SESSIONS, USERS, ROUNDS = 6, 4, 3


def sdk(name: str) -> Any:
    """The module, whose types are not known here."""
    return importlib.import_module(name)


def stored(base: str, user: str) -> list[str]:
    """The servers that made a user's objects, and those that had them: sixteen calls."""
    client = sdk("openai").OpenAI(
        base_url=f"{base}/v1", api_key="k", max_retries=0, default_headers={"x-user-id": user}
    )
    response = client.responses.create(model="m", input="Why?")
    conversation = client.conversations.create()
    file = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
    found = [response, conversation, file, batch]
    for _ in range(2):
        found += [client.responses.retrieve(response.id), client.conversations.retrieve(conversation.id)]
        found += [client.files.retrieve(file.id), client.batches.retrieve(batch.id)]
    found.append(client.responses.create(model="m", input="And?", previous_response_id=response.id))
    found += [client.responses.retrieve(found[-1].id), client.responses.retrieve(response.id)]
    found.append(client.files.retrieve(file.id))
    return [one.model_dump()["server"] for one in found]


async def main(tools: str, models: str) -> None:
    """Opens the sessions, and uses them in each round."""
    async with AsyncExitStack() as opened:
        # "legacy": with a handshake and a session.
        clients = [
            await opened.enter_async_context(sdk("mcp").Client(f"{tools}/mcp", mode="legacy")) for _ in range(SESSIONS)
        ]
        for _ in range(ROUNDS):
            for number, client in enumerate(clients):
                said = [(await client.call_tool("who")).content[0].text for _ in range(2)]
                print(json.dumps({"who": f"session {number}", "servers": said}), flush=True)
            for number in range(USERS):
                servers = await asyncio.to_thread(stored, models, f"u{number}")
                print(json.dumps({"who": f"user {number}", "servers": servers}), flush=True)
            print(json.dumps({}), flush=True)
            await asyncio.to_thread(sys.stdin.readline)


asyncio.run(main(*sys.argv[1:]))
