"""Rollouts on a real API server: driven by the controller, followed by two processors, interrupted in each way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from extproc.kubernetes.mesh_objects import Key
from tests.grpc.exchanges import exchange, tell
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.controllers import ControllerProcess, live
from tests.kubernetes.mesh_envoys import add_addresses
from tests.kubernetes.processor import ClusterProcessor
from tests.kubernetes.test_controller_linkerd import linkerd
from tests.kubernetes.test_controller_linkerd import live as linkerd_objects
from tests.kubernetes.test_policies_carried_out import istio, policy, status, waits_for
from tests.manifests.crds import needed
from tests.unit.kubernetes.rolled_out import hold
from tests.waiting import until

__all__ = ["istio", "linkerd"]
pytestmark = [needed, pytest.mark.timeout(600)]
PATIENCE = 120
ADDRESSES, PORT = ("10.77.0.41", "10.77.0.42"), 9090
PAGES = "127.0.0.1:9191"


class RolledOut:
    """A policy with a rollout, two processors behind a Service, and every status that the policy ever had."""

    def __init__(self, control_plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.control_plane, self.namespace = control_plane, namespace
        self._seen, self._stack = folder / "seen.json", ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            add_addresses(*ADDRESSES)
            self.processors = [stack.enter_context(self._processor(address)) for address in ADDRESSES]
            for processor, address in zip(self.processors, ADDRESSES, strict=True):
                processor.ready().admin = f"{address}:{PORT}"
            self.slice("http-admin")
            self.apply()
            self._stack = stack.pop_all()
        self.watch()
        return self

    def watch(self) -> None:
        """Follows the policy, until the API server ends."""
        command = ["kubectl", f"--kubeconfig={self.control_plane.admin}", "get", "mip", "chat", "-w", "-o", "json"]
        with self._seen.open("ab") as seen:
            watching = subprocess.Popen([*command, "-n", self.namespace], stdout=seen, stderr=subprocess.DEVNULL)
        self._stack.callback(watching.wait)
        self._stack.callback(watching.kill)

    def __exit__(self, *_: object) -> None:
        with self._stack, self.controller():
            self.control_plane.kubectl("delete", "mip", "--all", "-n", self.namespace)
            until(lambda: not live(self.control_plane), PATIENCE)

    def _processor(self, address: str) -> ClusterProcessor:
        return ClusterProcessor(self.control_plane.admin, "--namespace", self.namespace, "--admin", f"{address}:{PORT}")

    def slice(self, port: str) -> None:
        """The EndpointSlice of the processors' Service, with the admin port by this name."""
        labels = {"kubernetes.io/service-name": "procs"}
        one: dict[str, Any] = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
        one |= {"metadata": {"name": "procs-1", "namespace": self.namespace, "labels": labels}}
        one |= {"ports": [{"name": port, "port": PORT}], "endpoints": [{"addresses": [each]} for each in ADDRESSES]}
        self.control_plane.apply(one)

    def apply(self, **more: Any) -> None:
        """The policy, as `kubectl apply` and GitOps write it, again and again."""
        guards = [{"metric": "errors", "max": "5%"}]
        rollout = {"to": "v2", "steps": [10, 50, 100], "interval": "8s", "minRequests": 20, "guards": guards}
        versions = [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 0}]
        chat = policy(self.namespace, models=["chat"], **({"versions": versions, "rollout": rollout} | more))
        self.control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump(chat))

    def controller(self, *flags: str) -> ControllerProcess:
        service = f"procs.{self.namespace}.svc.cluster.local:50051"
        return ControllerProcess(self.control_plane, self.namespace, "--processor", service, *flags)

    def tell(self, *statuses: str) -> bool:
        """Both processors hear of answers of the new version."""
        told = [exchange(each, policy="chat", model="chat", version="v2") for each in statuses]
        return all(tell(processor.address, *told) for processor in self.processors)

    def at(self) -> tuple[str, int]:
        found = status(self.control_plane, self.namespace).get("rollout", {})
        return found.get("state", ""), found.get("step", -1)

    def message(self) -> str:
        return str(status(self.control_plane, self.namespace)["rollout"].get("message", ""))

    def annotate(self, command: str) -> None:
        words = ("annotate", "mip", "chat", "-n", self.namespace, "--overwrite", f"ai.istio.io/rollout={command}")
        self.control_plane.kubectl(*words)

    def command(self, *words: str) -> str:
        """``extproc rollout`` with the cluster; what it prints."""
        command = [sys.executable, "-m", "extproc", "rollout", *words, "--kubernetes", "--namespace", self.namespace]
        environment = os.environ | {"KUBECONFIG": str(self.control_plane.admin)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def comes_about(self, condition: Callable[[], object]) -> None:
        """Waits for it; where it does not come about, the status tells what did."""
        try:
            until(condition, PATIENCE, pause=0.1)
        except AssertionError as error:
            raise AssertionError(status(self.control_plane, self.namespace)) from error

    def goes_to(self, state: str, step: int) -> None:
        self.comes_about(lambda: self.at() == (state, step))

    def served(self) -> list[dict[str, int]]:
        """The weights that each processor has in force."""
        return [{v["name"]: v["weight"] for v in p.config()["policies"][0]["versions"]} for p in self.processors]

    def is_followed(self, **weights: int) -> bool:
        """Whether processors and mesh have these weights in force."""
        served = self.served()
        name = f"aimesh-chat-{self.namespace}"
        virtual_service = live(self.control_plane)[Key("networking.istio.io", "VirtualService", self.namespace, name)]
        route = virtual_service["spec"]["http"][-1]  # of requests without a version
        shares = {d["destination"]["subset"]: d.get("weight", 100) for d in route["route"]}
        total, all_shares = sum(weights.values()), sum(shares.values())
        follows = all(shares.get(version, 0) * total == weight * all_shares for version, weight in weights.items())
        return served == [weights, weights] and follows

    def seen(self) -> list[dict[str, Any]]:
        """Every version of the policy that the API server has told."""
        text, at, found = self._seen.read_text(), 0, []
        decoder = json.JSONDecoder()
        while at < len(text.rstrip()):
            one, at = decoder.raw_decode(text, at)
            at = re.compile(r"\s*").match(text, at).end()  # type: ignore[union-attr]
            found.append(one)
        return found

    def check(self) -> None:
        """Every state followed from the one before it, by a step at the most."""
        for before, after in pairwise(self.seen()):
            if after.get("status"):
                hold(before, after)


@pytest.fixture
def rolled_out(istio: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[RolledOut]:
    with RolledOut(istio, namespace, tmp_path) as made:
        yield made


def events(rolled_out: RolledOut) -> list[tuple[str, str]]:
    text = rolled_out.control_plane.kubectl("get", "events.events.k8s.io", "-n", rolled_out.namespace, "-o", "json")
    found = sorted(json.loads(text)["items"], key=lambda one: str(one["eventTime"]))
    return [(one["type"], one["reason"]) for one in found if one["action"] == "Rollout"]


def step_on_metrics() -> int:
    """Percent of the new version, as the controller's metrics tell; -1 where they do not."""
    with urllib.request.urlopen(f"http://{PAGES}/metrics", timeout=5) as answer:
        found = re.search(r'inference_rollout_step\{policy="chat",version="v2"\} (\d+)', answer.read().decode())
    return int(found[1]) if found else -1


def test_a_good_version_is_completed_and_gitops_takes_nothing_back(rolled_out: RolledOut) -> None:
    with rolled_out.controller(f"--admin={PAGES}"):
        rolled_out.goes_to("Progressing", 10)
        rolled_out.comes_about(lambda: rolled_out.is_followed(v1=9, v2=1))
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["200"]) and rolled_out.at() == ("Progressing", 50))
        rolled_out.apply()
        rolled_out.comes_about(lambda: rolled_out.is_followed(v1=1, v2=1))
        rolled_out.comes_about(lambda: step_on_metrics() == rolled_out.at()[1])  # each may be read amid a move
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["200"]) and rolled_out.at() == ("Completed", 100))
        rolled_out.comes_about(lambda: rolled_out.is_followed(v1=0, v2=1))
        assert rolled_out.message() == "write v1 weight: 0, v2 weight: 100 into the policy, and remove its rollout"
        (shown,) = json.loads(rolled_out.processors[0].get("/rollouts")[1])
        assert (shown["phase"], shown["percent"], len(shown["moves"])) == ("Completed", 100, 4)
        columns = rolled_out.control_plane.kubectl("get", "mip", "chat", "-n", rolled_out.namespace, "-o", "wide")
        assert "v2 Completed 100%" in columns
        assert events(rolled_out) == 3 * [("Normal", "RolloutProgressing")] + [("Normal", "RolloutCompleted")]
        rolled_out.apply(rollout=None, versions=[{"name": "v1", "weight": 0}, {"name": "v2", "weight": 1}])
        waits_for(rolled_out.control_plane, rolled_out.namespace)
        rolled_out.comes_about(lambda: rolled_out.at() == ("", -1))
    rolled_out.check()


def test_a_bad_version_is_rolled_back_and_silence_is_waited_out(rolled_out: RolledOut) -> None:
    with rolled_out.controller():
        rolled_out.goes_to("Progressing", 10)
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["200"]) and rolled_out.at() == ("Progressing", 50))
        rolled_out.slice("another")  # the admin port is not to be found any more
        rolled_out.comes_about(lambda: "no processor is known" in rolled_out.message())
        state, step = rolled_out.at()  # a busy machine may have made one more
        assert state == "Progressing"
        rolled_out.tell(*20 * ["503"])
        assert rolled_out.at() == (state, step)
        rolled_out.command("pause", "chat")
        rolled_out.goes_to("Paused", step)
        rolled_out.command("resume", "chat")
        rolled_out.goes_to("Progressing", step)
        assert json.loads(rolled_out.command("status", "--json"))[0]["percent"] == step
        rolled_out.slice("http-admin")  # what was counted meanwhile is partly of the time before it was resumed
        failing = ("RollingBack", "Failed")
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["503"]) and rolled_out.at()[0] in failing)
        rolled_out.comes_about(lambda: rolled_out.is_followed(v1=1, v2=0))
        rolled_out.goes_to("Failed", 0)
        assert rolled_out.message().startswith("errors ≤ 5%: ")
        assert events(rolled_out)[-2:] == [("Warning", "RolloutRollingBack"), ("Warning", "RolloutFailed")]
    rolled_out.check()


def test_leaders_that_are_killed_leave_every_state_as_it_is(rolled_out: RolledOut) -> None:
    """With SIGKILL, in each state; the next one goes on from there, and carries out the command that came meanwhile."""
    ways = [("pause", "Progressing", 10), ("resume", "Paused", 10), ("promote", "Progressing", 10)]
    ways += [("abort", "Completed", 100), ("resume/2", "Failed", 0), ("abort/2", "Progressing", 10)]
    for command, state, step in ways:
        with rolled_out.controller() as controller:
            rolled_out.goes_to(state, step)
            controller.end(signal.SIGKILL)
        rolled_out.annotate(command)
    with rolled_out.controller() as controller:
        until(lambda: rolled_out.at() == ("RollingBack", 0), PATIENCE, pause=0.05)
        controller.end(signal.SIGKILL)
    assert rolled_out.at() == ("RollingBack", 0)
    with rolled_out.controller():
        rolled_out.goes_to("Failed", 0)
        rolled_out.comes_about(lambda: rolled_out.is_followed(v1=1, v2=0))
    rolled_out.check()


def test_the_api_server_goes_away_and_a_leader_that_was_halted_comes_back(rolled_out: RolledOut) -> None:
    with rolled_out.controller() as first:
        rolled_out.goes_to("Progressing", 10)
        rolled_out.control_plane.stop_api()
        rolled_out.tell(*20 * ["200"])
        rolled_out.control_plane.start_api()
        rolled_out.watch()
        assert rolled_out.at() == ("Progressing", 10)
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["200"]) and rolled_out.at() == ("Progressing", 50))
        first.process.send_signal(signal.SIGSTOP)
        with rolled_out.controller() as second:
            rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["200"]) and rolled_out.at() == ("Progressing", 100))
            first.process.send_signal(signal.SIGCONT)
            rolled_out.comes_about(
                lambda: rolled_out.tell(*20 * ["503"]) and rolled_out.at()[0] in ("RollingBack", "Failed")
            )
            rolled_out.goes_to("Failed", 0)
            assert "leads" in second.said()
    rolled_out.check()


def outlasts_an_outage(rolled_out: RolledOut, state: str, step: int, *weights: dict[str, int]) -> None:
    """The API server goes away in this state, and comes back 4 s later. Meanwhile requests to the new version fail, and
    processors keep what they have, which is one of ``weights``.
    """
    until(lambda: rolled_out.seen()[-1]["status"]["rollout"]["state"] == state)
    rolled_out.control_plane.stop_api()
    served = rolled_out.served()
    assert all(each in weights for each in served), served
    assert rolled_out.seen()[-1]["status"]["rollout"]["state"] == state
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        assert rolled_out.tell(*20 * ["503"])
        assert rolled_out.served() == served
    rolled_out.control_plane.start_api()
    rolled_out.watch()
    assert rolled_out.at() in ((state, step), ("RollingBack", 0), ("Failed", 0))


def test_the_api_server_goes_away_in_each_state(rolled_out: RolledOut) -> None:
    """Nothing moves while it is away; a version that fails on is rolled back when it is there again. What failed before
    may not count any more: a leader that has lost its lease measures its step anew.
    """
    at_first, rolled_back, completed = {"v1": 9, "v2": 1}, {"v1": 1, "v2": 0}, {"v1": 0, "v2": 1}
    with rolled_out.controller():
        rolled_out.goes_to("Progressing", 10)
        rolled_out.comes_about(lambda: rolled_out.is_followed(**at_first))
        outlasts_an_outage(rolled_out, "Progressing", 10, at_first)
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["503"]) and rolled_out.at() == ("Failed", 0))
        rolled_out.annotate("resume")
        rolled_out.goes_to("Progressing", 10)
        rolled_out.comes_about(lambda: rolled_out.is_followed(**at_first))
        rolled_out.annotate("abort")
        until(lambda: rolled_out.at() == ("RollingBack", 0), PATIENCE, pause=0.05)
        outlasts_an_outage(rolled_out, "RollingBack", 0, at_first, rolled_back)
        rolled_out.goes_to("Failed", 0)
        rolled_out.comes_about(lambda: rolled_out.is_followed(**rolled_back))
        outlasts_an_outage(rolled_out, "Failed", 0, rolled_back)
        assert rolled_out.at() == ("Failed", 0)
        rolled_out.annotate("resume/2")
        rolled_out.goes_to("Progressing", 10)
        rolled_out.annotate("pause")
        rolled_out.goes_to("Paused", 10)
        rolled_out.comes_about(lambda: rolled_out.is_followed(**at_first))
        outlasts_an_outage(rolled_out, "Paused", 10, at_first)
        assert rolled_out.at() == ("Paused", 10)
        rolled_out.annotate("promote")
        rolled_out.goes_to("Completed", 100)
        rolled_out.comes_about(lambda: rolled_out.is_followed(**completed))
        outlasts_an_outage(rolled_out, "Completed", 100, completed)
        assert rolled_out.at() == ("Completed", 100)
    rolled_out.check()


def shares(control_plane: ControlPlane, namespace: str) -> dict[str, Fraction]:
    """Of the Services of versions, for requests without a version, as Linkerd's route has them."""
    (route,) = json.loads(control_plane.kubectl("get", "httproutes", "-n", namespace, "-o", "json"))["items"]
    weights = {each["name"]: each["weight"] for each in route["spec"]["rules"][-1]["backendRefs"]}
    return {name: Fraction(weight, sum(weights.values())) for name, weight in weights.items()}


def test_linkerds_routes_follow(rolled_out: RolledOut, linkerd: ControlPlane) -> None:
    """With both meshes: what Istio's processors measure moves the weights of Linkerd's HTTPRoutes too."""
    namespace, tenth = rolled_out.namespace, Fraction(1, 10)
    rolled_out.apply(host="chat", selector={"matchLabels": {"app": "chat"}})
    with rolled_out.controller("--mesh", "both", f"--gateway-name={namespace}/gateway"):
        rolled_out.goes_to("Progressing", 10)
        rolled_out.comes_about(lambda: shares(linkerd, namespace) == {"chat-v1": tenth * 9, "chat-v2": tenth})
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["200"]) and rolled_out.at() == ("Progressing", 50))
        rolled_out.comes_about(lambda: shares(linkerd, namespace) == {"chat-v1": tenth * 5, "chat-v2": tenth * 5})
        rolled_out.comes_about(lambda: rolled_out.tell(*20 * ["503"]) and rolled_out.at() == ("Failed", 0))
        rolled_out.comes_about(lambda: shares(linkerd, namespace) == {"chat-v1": 1})
        rolled_out.comes_about(lambda: rolled_out.is_followed(v1=1, v2=0))
        linkerd.kubectl("delete", "mip", "--all", "-n", namespace)
        until(lambda: not linkerd_objects(linkerd) and not live(linkerd), PATIENCE)
    rolled_out.check()
