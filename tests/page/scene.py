"""The demo's models and policy behind a real Envoy and a real processor; workloads ask by mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from extproc.demo.model_servers import ModelServer, OipServer, OpenAIServer, Pace
from extproc.demo.run import policy_for
from extproc.demo.traffic import CHAT_MODEL, TENSOR_MODEL, Answer, Request, drive
from extproc.gateway.envoy_process import Envoy
from extproc.policyfile import loader
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.grpc.served import Served
from tests.spiffe import Mesh

_IDENTITY = "spiffe://cluster.local/ns/{}/sa/{}"
SEARCH, CHAT = _IDENTITY.format("shop", "search"), _IDENTITY.format("shop", "chat")
NIGHTLY = _IDENTITY.format("data", "nightly")


class Scene:
    """All of it, running."""

    def __init__(self, processor: Served, envoy: Envoy, mesh: Mesh) -> None:
        self.processor = processor
        self.url = f"http://{processor.admin}/"
        """Of the page."""
        self._gateway = f"https://{envoy.listen_address}"
        self._mesh = mesh

    async def ask(self, caller: str, asks: Sequence[Request], concurrency: int = 4) -> list[Answer]:
        """Sends these requests as the workload of this name."""
        return await drive(self._gateway, asks, concurrency, tls=self._mesh.client(caller))


@asynccontextmanager
async def scene(directory: Path, *, pace: float = 1.0) -> AsyncIterator[Scene]:
    """``pace``: how long the models think, as a multiple of the demo's times."""
    servers: tuple[ModelServer, ...] = (
        OpenAIServer([CHAT_MODEL], Pace(0.060 * pace, 0.006 * pace), 1),
        OpenAIServer([f"{CHAT_MODEL}-instruct"], Pace(0.035 * pace, 0.004 * pace), 2),
        OipServer([TENSOR_MODEL], Pace(0.008 * pace), 3),
    )
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        policy = directory / "policy.yaml"
        policy.write_text(policy_for([server.endpoint for server in servers]))
        processor = stack.enter_context(Served(policy, "--drain", "0")).ready()
        mesh = Mesh(directory)
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(processor.address,), access_log=""
        )
        document = bootstrap(loader.load([policy]).snapshot, options)
        mesh.listening(document)
        envoy = stack.enter_context(Envoy(document, directory))
        envoy.wait_ready()
        yield Scene(processor, envoy, mesh)
