"""A real Envoy Gateway without Kubernetes: its objects are files, and its proxy is our Envoy on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from extproc.gateway.envoy_binary import find_envoy
from tests.ports import free_port

ENVOY_VERSION = "1.40.0"
"""As which Envoy Gateway knows our Envoy: it would else download one."""
_CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"


class EnvoyGateway:
    """A running Envoy Gateway with the Gateway ``default/gateway``, which listens on ``port`` of every address."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.port = free_port()
        self.log = directory / "log"
        self._program = program
        self._objects = directory / "objects"
        homes = {f"{name}Home": str(directory / name) for name in ("config", "data", "state")}
        self._config_home = homes["configHome"]
        host = homes | {"runtimeDir": str(directory / "run")}
        self._config = directory / "config.yaml"
        self._config.write_text(yaml.safe_dump(_configuration(self._objects, host)))
        self._objects.mkdir()
        self.apply("gateway", _gateway(self.port))
        envoy = directory / "data" / "envoy-versions" / ENVOY_VERSION / "bin" / "envoy"
        envoy.parent.mkdir(parents=True)
        envoy.symlink_to(find_envoy())

    def apply(self, name: str, objects: Sequence[dict[str, Any]]) -> None:
        """Writes objects into a file of this name, in the place of what it had."""
        fresh = self._objects / f".{name}"
        fresh.write_text(yaml.safe_dump_all(objects))
        fresh.rename(self._objects / f"{name}.yaml")

    def __enter__(self) -> Self:
        certificates = [str(self._program), "certgen", "--local", "--config-home", self._config_home]
        subprocess.run(certificates, check=True, capture_output=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._program), "server", "--config-path", str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # and it ends its Envoy
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


def _configuration(objects: Path, host: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": _CONTROLLER},
        "provider": {
            "type": "Custom",
            "custom": {
                "resource": {"type": "File", "file": {"paths": [str(objects)]}},
                "infrastructure": {"type": "Host", "host": host},
            },
        },
        "extensionApis": {"enableBackend": True},
    }


def _gateway(port: int) -> list[dict[str, Any]]:
    proxy = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "eg", "namespace": "default"}
    where = {"name": "gateway", "namespace": "default"}
    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "eg"},
            "spec": {"controllerName": _CONTROLLER, "parametersRef": proxy},
        },
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": {"name": "eg", "namespace": "default"},
            "spec": {"provider": {"type": "Host", "host": {"envoyVersion": ENVOY_VERSION}}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": where,
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": port}]},
        },
    ]
