"""``python -m benchmarks.page_servers PORT BYTES``: a little server of metrics pages, on every address of the machine.

A page is as vLLM 0.11 has it, with one histogram's buckets repeated until it is as long, and comes as uvicorn sends it:
one chunk. Queue and batch change with every page.
"""

from __future__ import annotations

import select
import socket
import sys

LABELS = 'engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"'
HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2028 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/plain; version=0.0.4; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
_MADE = 64
"""Different answers, which are sent in turns."""


def page(size: int, waiting: int, running: int) -> bytes:
    """About ``size`` bytes."""
    lines = [f'python_gc_objects_collected_total{{generation="{generation}"}} 1234.0' for generation in range(3)]
    lines += [f"process_{name} 1.7e+09" for name in ("virtual_memory_bytes", "start_time_seconds", "open_fds")]
    gauges = {"num_requests_running": running, "num_requests_waiting": waiting, "kv_cache_usage_perc": 0.37}
    for name, value in gauges.items():
        lines += [f"# HELP vllm:{name} What it is.", f"# TYPE vllm:{name} gauge", f"vllm:{name}{{{LABELS}}} {value}"]
    tail = [f'vllm:cache_config_info{{block_size="16",{LABELS},num_gpu_blocks="27000"}} 1.0']
    missing = size - sum(map(len, lines + tail))
    bucket = f'vllm:time_to_first_token_seconds_bucket{{{LABELS},le="%.3f"}} %d.0'
    lines += [bucket % (number / 1000, number * 7 + waiting) for number in range(missing // len(bucket))]
    return "\n".join((*lines, *tail, "")).encode()


def main() -> None:
    """Serves until it is killed."""
    port, size = map(int, sys.argv[1:])
    bodies = (page(size, number, 2 * number) for number in range(_MADE))
    answers = [HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) for body in bodies]
    listening = socket.create_server(("0.0.0.0", port), backlog=1024)  # noqa: S104 - all addresses of loopback
    poll, connections, turn = select.epoll(), dict[int, socket.socket](), 0
    poll.register(listening.fileno(), select.EPOLLIN)
    print("listening", flush=True)
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                connection, _ = listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
                continue
            turn += 1
            try:
                if connections[fd].recv(65536):
                    connections[fd].sendall(answers[turn % _MADE])
                    continue
            except OSError:
                pass
            connections.pop(fd).close()


if __name__ == "__main__":
    main()
