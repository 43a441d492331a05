"""Opens streams to a processor as an observing Envoy does, and leaves them idle until its standard input ends.

A process of its own; prints a line when all are open.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from grpc import aio

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.codec import PROCESS

_CONNECTIONS = 10
"""As many Envoys; each puts its streams on one connection."""


def first_message() -> bytes:
    """The routed request's head, as the filter ``aimesh.observe`` shows it."""
    message = pb.ProcessingRequest(observability_mode=True)
    message.request_headers.headers.headers.add(key=":status", raw_value=b"")
    message.metadata_context.filter_metadata["aimesh"].fields["model"].string_value = "llama-3-8b"
    return message.SerializeToString()


async def hold(address: str, streams: int) -> None:
    """Until standard input ends."""
    unlimited = (("grpc.max_concurrent_streams", 1 << 20), ("grpc.use_local_subchannel_pool", 1))
    channels = [aio.insecure_channel(address, options=unlimited) for _ in range(_CONNECTIONS)]
    calls = []
    for number in range(streams):
        call = channels[number % _CONNECTIONS].stream_stream(PROCESS)()
        await call.write(first_message())
        calls.append(call)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Without streams there is nothing to hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady.hold")
    parser.add_argument("address", help="of the processor, as gRPC writes it")
    parser.add_argument("streams", type=int)
    options = parser.parse_args(arguments)
    asyncio.run(hold(options.address, options.streams))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
