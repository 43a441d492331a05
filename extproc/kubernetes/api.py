"""The API server: objects listed, watched, applied and deleted, as plain dicts.

lightkube gives credentials (``KUBECONFIG``, or those of the pod, whose token is read again when it has expired), TLS
and HTTP. Its own client is left out: its watch starts anew by itself, without a word and without a pause, and never
notices a peer that has fallen silent (docs/decisions/0016-kubernetes.md). The paths and parameters are those of
https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import httpx2
import msgspec
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

Object: TypeAlias = dict[str, Any]
"""An object of the API, as its JSON has it."""

TIMEOUT = 10.0
"""Seconds that connecting, and each read, may take."""
WATCH_SECONDS = 60
"""After so many the server ends a watch. One that is silent for longer has lost its server."""
_PAGE = 500
"""Objects in one answer to ``list``."""
EXPIRED = 410
"""Status of a watch that can't go on, since the server no longer has the changes after its resourceVersion."""


class ApiFailure(Exception):  # noqa: N818 - named for what is so
    """A request failed. ``status``: of the answer; 0 where there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NoCredentials(Exception):  # noqa: N818
    """There is neither a usable ``KUBECONFIG`` nor a pod's service account."""


class Resource(msgspec.Struct, frozen=True):
    """A kind of objects, by its place in the API."""

    group: str
    """Empty: the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in an object's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL's path: of all objects, of those in a namespace, or of one."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        return "/" + "/".join(part for part in (*parts, self.plural, name, subresource) if part)


POLICIES = Resource("ai.istio.io", "v1alpha1", "modelinferencepolicies", "ModelInferencePolicy")
POOLS = Resource("ai.istio.io", "v1alpha1", "gpupools", "GpuPool")
PODS = Resource("", "v1", "pods", "Pod")


class Listed(msgspec.Struct, frozen=True):
    """All objects of a kind. ``resource_version``: where a watch for their changes begins."""

    resource_version: str
    objects: list[Object]


class WatchEvent(msgspec.Struct, frozen=True):
    """A change. ``type``: ADDED, MODIFIED, DELETED; BOOKMARK, whose object has nothing but a resourceVersion."""

    type: str
    object: Object


class Api:
    """A connection to the API server; made by ``connect``. Every method raises ``ApiFailure``."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object; None where there is none."""
        try:
            return await self._request("GET", resource.path(namespace, name))
        except ApiFailure as failure:
            if failure.status == 404:
                return None
            raise

    async def list(self, resource: Resource, namespace: str = "", labels: str = "") -> Listed:
        """The objects in a namespace, or in all of them. ``labels``: a selector, as in ``kubectl -l``.

        A kind that the server does not have is a failure of status 404.
        """
        parameters = {"limit": str(_PAGE)} | ({"labelSelector": labels} if labels else {})
        objects: list[Object] = []
        while True:
            try:
                page = await self._request("GET", resource.path(namespace), parameters)
            except ApiFailure as failure:
                if failure.status == 404:
                    raise ApiFailure(_missing(resource), 404) from None
                raise
            objects += page.get("items") or ()
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Listed(str(metadata.get("resourceVersion", "")), objects)
            parameters["continue"] = metadata["continue"]

    async def watch(
        self, resource: Resource, namespace: str, resource_version: str, labels: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        """The changes after ``resource_version``. Ends after ``WATCH_SECONDS``: watch anew, from the last one's."""
        parameters = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        } | ({"labelSelector": labels} if labels else {})
        timeout = httpx2.Timeout(TIMEOUT, read=WATCH_SECONDS + TIMEOUT)
        with _failures():
            async with self._client.stream("GET", resource.path(namespace), params=parameters, timeout=timeout) as sent:
                if sent.is_error:
                    raise _failure_of(sent.status_code, await sent.aread())
                async for line in sent.aiter_lines():
                    event = msgspec.json.decode(line, type=WatchEvent)
                    if event.type == "ERROR":
                        raise ApiFailure(str(event.object.get("message")), int(event.object.get("code") or 0))
                    yield event

    async def apply(
        self, resource: Resource, wanted: Object, manager: str, *, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Server-side apply under the field manager ``manager``; fields that the schema lacks are refused.

        ``force`` takes fields from others; without it, a field that another manager has is a failure of status 409.
        ``dry_run``: nothing is kept.
        """
        parameters = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        parameters |= {"dryRun": "All"} if dry_run else {}
        metadata = wanted["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        return await self._request("PATCH", path, parameters, wanted, "application/apply-patch+yaml")

    async def create(self, resource: Resource, wanted: Object) -> Object:
        """Creates an object; that there is one of this name is a failure of status 409."""
        path = resource.path(wanted["metadata"].get("namespace", ""))
        return await self._request("POST", path, {"fieldValidation": "Strict"}, wanted)

    async def replace(self, resource: Resource, wanted: Object, subresource: str = "") -> Object:
        """Replaces an object; that it has changed since ``metadata.resourceVersion`` is a failure of status 409."""
        metadata = wanted["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._request("PUT", path, {"fieldValidation": "Strict"}, wanted)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str = "") -> bool:
        """Deletes an object, with ``uid`` only the one that has it; returns whether there was one."""
        options = {"preconditions": {"uid": uid}} if uid else {}
        try:
            await self._request("DELETE", resource.path(namespace, name), {}, options)
        except ApiFailure as failure:
            if failure.status == 404:
                return False
            raise
        return True

    async def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": content_type} if content else {}
        with _failures():
            answer = await self._client.request(method, path, params=parameters, content=content, headers=headers)
            if answer.is_error:
                raise _failure_of(answer.status_code, answer.content)
            return msgspec.json.decode(answer.content, type=Object)


@asynccontextmanager
async def connect() -> AsyncIterator[Api]:
    """A connection with the credentials as they are now. Raises ``NoCredentials``.

    Nothing is sent yet: a server that is away shows at the first request.
    """
    async with _client() as client:
        yield Api(client)


def check_credentials() -> None:
    """Raises ``NoCredentials`` where ``connect`` would."""
    _client()


def _client() -> httpx2.AsyncClient:
    """With the credentials of ``KUBECONFIG`` where it is set, else the pod's, else those of ``~/.kube/config``."""
    named = os.environ.get("KUBECONFIG")
    try:
        found = (KubeConfig.from_file(named) if named else KubeConfig.from_env()).get()
        return AsyncClient(found, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT)))  # type: ignore[arg-type]
    except Exception as error:  # lightkube has none of its own for a file that is no kubeconfig
        raise NoCredentials(_said(error)) from None


logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells every request


@contextmanager
def _failures() -> Iterator[None]:
    """Whatever goes wrong on the way to the server and back, as ``ApiFailure``."""
    try:
        yield
    except (
        httpx2.HTTPError,
        httpx2.InvalidURL,
        httpx2.StreamError,
        ConfigError,
        OSError,
        msgspec.MsgspecError,
    ) as error:
        raise ApiFailure(_said(error)) from None


def _said(error: Exception) -> str:
    """What an exception says, in one line: httpx2's are often empty."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _missing(resource: Resource) -> str:
    """That the server does not have a kind, and of our own what to do."""
    if resource.group == POLICIES.group:
        return "404: the custom resource definitions are missing: kubectl apply -f istio/crds.yaml"
    return f"404: the server has no {resource.plural} of {resource.api_version}"


def _failure_of(status: int, content: bytes) -> ApiFailure:
    """An answer that is no success: a ``Status`` with a message, or what something in between says."""
    try:
        message = str(msgspec.json.decode(content, type=Object)["message"])
    except (msgspec.MsgspecError, KeyError):
        message = content.decode(errors="replace").strip()[:200]
    return ApiFailure(f"{status}: {message}" if message else str(status), status)
