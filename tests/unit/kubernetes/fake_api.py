"""Stands for an API server where no real one can run: lists and watches over plain HTTP, and nothing else.

What a real one does otherwise is in tests/kubernetes. A test tells this one how to fail.
"""

from __future__ import annotations

import json
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from extproc.kubernetes.api import Object

PATHS = {
    "ModelInferencePolicy": "/apis/ai.istio.io/v1alpha1/modelinferencepolicies",
    "GpuPool": "/apis/ai.istio.io/v1alpha1/gpupools",
    "InferencePool": "/apis/inference.networking.k8s.io/v1/inferencepools",
    "InferenceObjective": "/apis/inference.networking.x-k8s.io/v1alpha2/inferenceobjectives",
    "InferenceModelRewrite": "/apis/inference.networking.x-k8s.io/v1alpha2/inferencemodelrewrites",
    "Pod": "/api/v1/pods",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/httproutes",
}
_END = b""


def made(kind: str, name: str, spec: dict[str, Any], namespace: str = "ai", age: int = 0, **metadata: Any) -> Object:
    """An object as a server gives it; the larger ``age``, the older."""
    created = f"2026-01-01T00:00:{59 - age:02}Z"
    places = {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "creationTimestamp": created}
    metadata = places | {"resourceVersion": "1"} | metadata
    return {"apiVersion": "ai.istio.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that are killed break their connections off: nothing to be told."""


class FakeApi:
    """The server, at ``kubeconfig``; ends with the context."""

    def __init__(self, directory: Path) -> None:
        self.version = 1
        self.answer: tuple[int, bytes] | None = None
        """Sent to every request instead of what it asks for."""
        self.missing: set[str] = set()
        """Kinds that it does not have."""
        self.forbidden: set[tuple[str, str]] = set()
        """Namespaces and plurals of kinds that may not be read there."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Paths and parameters as they came."""
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._watches: list[tuple[str, SimpleQueue[bytes]]] = []
        self._lock = Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
                    "users": [{"name": "u", "user": {"token": "secret"}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_watches()
        self._server.shutdown()
        self._server.server_close()

    def put(self, *objects: Object) -> None:
        """Creates or changes objects."""
        for one in objects:
            with self._lock:
                self.version += 1
                metadata = one["metadata"] | {"resourceVersion": str(self.version)}
                path = PATHS[one["kind"]]
                key = metadata["namespace"], metadata["name"]
                kind = "MODIFIED" if key in self._objects[path] else "ADDED"
                self._objects[path][key] = one | {"metadata": metadata}
                self._tell(path, {"type": kind, "object": one | {"metadata": metadata}})

    def remove(self, one: Object) -> None:
        """Deletes an object."""
        with self._lock:
            self.version += 1
            path, metadata = PATHS[one["kind"]], one["metadata"]
            gone = self._objects[path].pop((metadata["namespace"], metadata["name"]))
            self._tell(path, {"type": "DELETED", "object": gone})

    def tell(self, kind: str, event: dict[str, Any]) -> None:
        """Sends an event to the watches of a kind, whatever the objects are."""
        with self._lock:
            self._tell(PATHS[kind], event)

    def forget(self) -> None:
        """Loses every object, without a word to those who watch."""
        with self._lock:
            self._objects.clear()

    def end_watches(self, rest: bytes = _END) -> None:
        """Ends all watches, in the middle of a line where ``rest`` is one."""
        with self._lock:
            for _, queue in self._watches:
                queue.put(rest)
            self._watches.clear()

    @property
    def watches(self) -> int:
        """Open watches."""
        return len(self._watches)

    def _tell(self, path: str, event: dict[str, Any]) -> None:
        for watched, queue in self._watches:
            if watched == path:
                queue.put(json.dumps(event).encode() + b"\n")

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.requests.append((url.path, parameters | {"authorization": handler.headers.get("authorization", "")}))
        namespace = url.path.split("/namespaces/")[1].split("/")[0] if "/namespaces/" in url.path else ""
        path = url.path.replace(f"/namespaces/{namespace}", "")
        if self.answer is not None:
            _send(handler, *self.answer)
        elif (namespace, path.rpartition("/")[2]) in self.forbidden:
            _send(handler, 403, b'{"message": "may not list"}')
        elif path in {PATHS[kind] for kind in self.missing}:
            _send(handler, 404, b"404 page not found")
        elif "watch" in parameters:
            self._watch(handler, path, int(parameters["resourceVersion"]))
        else:
            with self._lock:
                found = [one for key, one in self._objects[path].items() if namespace in ("", key[0])]
                listed = {"metadata": {"resourceVersion": str(self.version)}, "items": found}
            _send(handler, 200, json.dumps(listed).encode())

    def _watch(self, handler: BaseHTTPRequestHandler, path: str, since: int) -> None:
        queue: SimpleQueue[bytes] = SimpleQueue()
        with self._lock:
            for one in self._objects[path].values():
                if int(one["metadata"]["resourceVersion"]) > since:
                    queue.put(json.dumps({"type": "MODIFIED", "object": one}).encode() + b"\n")
            self._watches.append((path, queue))
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        try:
            while piece := queue.get():
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if not piece.endswith(b"\n"):
                    handler.close_connection = True
                    return
            handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
