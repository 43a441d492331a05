"""A real control plane in this network namespace: etcd, kube-apiserver with certificates and RBAC, istiod."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.kubernetes.binaries import cache
from tests.waiting import until

API_ADDRESS, ISTIOD_ADDRESS = "10.77.0.1", "10.77.0.2"
ISTIOD = "istiod.istio-system.svc"
"""A name in the certificate that istiod makes for itself."""
API = f"https://{API_ADDRESS}:6443"
ETCD = "http://127.0.0.1:2379"
PATIENCE = 120
"""Seconds that a program may take to be ready on a busy machine."""


class Program:
    """A program that runs, with its output in a file."""

    def __init__(self, name: str, arguments: list[str], directory: Path, environment: Mapping[str, str] | None = None):
        self._log = directory / f"{name}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(cache() / name), *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=directory,
                env=os.environ | dict(environment or {}),
            )

    def wait_until(self, url: str, context: ssl.SSLContext | None = None) -> None:
        """Waits for 200 from ``url``."""

        def answers() -> bool:
            assert self.process.poll() is None, self._log.read_text()[-2000:]
            try:
                with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - our own
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        until(answers, PATIENCE, pause=0.1)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, and waits."""
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ControlPlane:
    """etcd and kube-apiserver, started; ends with the context."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._write_keys()
        self.admin = self.kubeconfig("admin", self._certificate("admin", "system:masters"))
        ip = shutil.which("ip") or "ip"
        for address in (API_ADDRESS, ISTIOD_ADDRESS):
            subprocess.run([ip, "address", "replace", f"{address}/32", "dev", "lo"], check=True)
        subprocess.run([ip, "link", "set", "lo", "up"], check=True)
        self._etcd = self._api = self._istiod = None
        self.start_etcd()
        self.start_api()

    _etcd: Program | None
    _api: Program | None
    _istiod: Program | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in (self._istiod, self._api, self._etcd):
            if program is not None:
                program.end(signal.SIGKILL)

    def start_etcd(self) -> None:
        """Starts etcd with the data that are there."""
        peers = "http://127.0.0.1:2380"
        arguments = ["--data-dir=etcd", f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"]
        arguments += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
        arguments += [f"--initial-cluster=default={peers}", "--unsafe-no-fsync", "--log-level=warn"]
        self._etcd = Program("etcd", arguments, self.directory)
        self._etcd.wait_until(f"{ETCD}/health")

    def start_api(self) -> None:
        """Starts kube-apiserver, and waits until it is ready."""
        arguments = [f"--etcd-servers={ETCD}", f"--bind-address={API_ADDRESS}", f"--advertise-address={API_ADDRESS}"]
        arguments += ["--tls-cert-file=api.crt", "--tls-private-key-file=api.key", "--client-ca-file=ca.crt"]
        arguments += ["--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"]
        arguments += ["--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key"]
        arguments += ["--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"]
        arguments += ["--shutdown-delay-duration=0s", "--profiling=false", "--event-ttl=10m"]
        self._api = Program("kube-apiserver", arguments, self.directory)
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        context.load_cert_chain(self.directory / "admin.pem")
        self._api.wait_until(f"{API}/readyz", context)

    def stop_api(self) -> None:
        """Kills kube-apiserver."""
        assert self._api is not None
        self._api.end(signal.SIGKILL)

    @contextmanager
    def stopped(self) -> Iterator[Path]:
        """Stops both for the time of the context, which gets the folder of etcd's data: to copy, or to replace."""
        assert self._etcd is not None
        self.stop_api()
        self._etcd.end()
        yield self.directory / "etcd"
        self.start_etcd()
        self.start_api()

    def start_istiod(self, mesh: dict[str, Any]) -> None:
        """Starts istiod with a mesh configuration, if it does not run, and waits until it is ready."""
        if self._istiod is not None:
            return
        (self.directory / "hosts").write_text("127.0.0.1 localhost\n")
        self.name_address(ISTIOD_ADDRESS, ISTIOD)
        command = [shutil.which("mount") or "mount", "--bind", str(self.directory / "hosts"), "/etc/hosts"]
        subprocess.run(command, check=True)
        (self.directory / "mesh.yaml").write_text(yaml.safe_dump(mesh))
        self._istiod = self.istiod_at(ISTIOD_ADDRESS)

    def istiod_at(self, address: str, **more: str) -> Program:
        """Starts an istiod with the same mesh configuration, and with ``more`` in its environment; waits until it is
        ready.
        """
        ports = {"monitoringAddr": 15014, "httpAddr": 18080, "grpcAddr": 15010, "secureGRPCAddr": 15012}
        arguments = ["discovery", f"--kubeconfig={self.admin}", "--meshConfig=mesh.yaml", "--domain=cluster.local"]
        arguments += [f"--{flag}={address}:{port}" for flag, port in (ports | {"httpsAddr": 15017}).items()]
        environment = {"POD_NAMESPACE": "istio-system", "POD_NAME": "istiod-0", "SERVICE_ACCOUNT": "istiod"}
        environment |= {"REVISION": "default", "CLUSTER_ID": "Kubernetes", "PILOT_CERT_PROVIDER": "istiod"}
        environment |= {"ENABLE_DEBUG_ENDPOINT_AUTH": "false", "INJECTION_WEBHOOK_CONFIG_NAME": ""}
        environment |= {"VALIDATION_WEBHOOK_CONFIG_NAME": "istio-validator-istio-system", "ISTIOD_CUSTOM_HOST": ""}
        # Filters of Istio's own, which other Envoys do not have.
        environment |= {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"}
        environment |= {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"}  # where there are the CRDs
        istiod = Program("pilot-discovery", arguments, self.directory, environment | more)
        istiod.wait_until(f"http://{address}:18080/ready")
        return istiod

    def name_address(self, address: str, name: str) -> None:
        """Has this mount namespace find ``address`` by ``name``, where istiod was started."""
        with (self.directory / "hosts").open("a") as hosts:
            hosts.write(f"{address} {name}\n")

    def compact(self) -> None:
        """Has etcd forget everything but what is now, as kube-apiserver has it do every five minutes."""
        revision = self._ask_etcd("kv/range", {"key": _encoded("/")})["header"]["revision"]
        self._ask_etcd("kv/compaction", {"revision": revision, "physical": True})

    def _ask_etcd(self, what: str, asked: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"{ETCD}/v3/{what}", json.dumps(asked).encode())  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found

    def kubectl(self, *arguments: str, input: str = "", kubeconfig: Path | None = None) -> str:  # noqa: A002
        """What kubectl prints. Raises ``CalledProcessError`` with what it says against it."""
        command = ["kubectl", f"--kubeconfig={kubeconfig or self.admin}", "--cache-dir=kubectl-cache", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, check=False, cwd=self.directory)
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    def apply(self, *documents: dict[str, Any]) -> str:
        """Applies objects, server-side and with strict validation of fields."""
        text = yaml.safe_dump_all(documents)
        return self.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=text)

    def kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        """A kubeconfig with the credentials ``user``."""
        path = self.directory / f"{name}.kubeconfig"
        cluster = {"server": API, "certificate-authority-data": _encoded((self.directory / "ca.crt").read_text())}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a token of a ServiceAccount that is there."""
        token = self.kubectl("create", "token", name, "-n", namespace).strip()
        return self.kubeconfig(f"{namespace}-{name}", {"token": token})

    def _certificate(self, name: str, group: str) -> dict[str, str]:
        issued = self._authority.issue_cert(
            f"{name}.test", common_name=name, organization_name=group, key_type=trustme.KeyType.ECDSA
        )
        pem = issued.private_key_and_cert_chain_pem.bytes()
        (self.directory / f"{name}.pem").write_bytes(pem)
        return {
            "client-certificate-data": _encoded(issued.cert_chain_pems[0].bytes().decode()),
            "client-key-data": _encoded(issued.private_key_pem.bytes().decode()),
        }

    def _write_keys(self) -> None:
        self._authority.cert_pem.write_to_path(str(self.directory / "ca.crt"))
        server = self._authority.issue_cert(API_ADDRESS, "kubernetes.default.svc", key_type=trustme.KeyType.ECDSA)
        server.cert_chain_pems[0].write_to_path(str(self.directory / "api.crt"))
        server.private_key_pem.write_to_path(str(self.directory / "api.key"))
        key = rsa.generate_private_key(65537, 2048)
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        (self.directory / "sa.key").write_bytes(private)
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (self.directory / "sa.pub").write_bytes(public)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
