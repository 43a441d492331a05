"""``extproc serve``: ports, health, signals, reload and drain around the engine."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING, Any

from extproc.admin.server import AdminContent, AdminServer
from extproc.envoy.access_log import STREAM
from extproc.envoy.codec import PROCESS
from extproc.errors import Problem, SetupError, not_installed
from extproc.exchange.breakers import Breakers
from extproc.exchange.notes import Observed, RequestAccount
from extproc.grpc_server import Sender, Settings, create
from extproc.grpc_server.tls import Certificates
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import effective_policy
from extproc.policyfile.rollout_files import RolloutFiles, describe_rollouts
from extproc.policyfile.session_keys import read_session_keys
from extproc.policyfile.watcher import PolicyWatcher
from extproc.rollout.status import describe
from extproc.serve.access_log_service import AccessLogService
from extproc.serve.endpoint_board import EndpointBoard
from extproc.serve.endpoint_picks import EndpointPicks
from extproc.serve.grpc_health import Health
from extproc.serve.options import ServeOptions
from extproc.serve.pool_feed import PoolFeed
from extproc.serve.reachability_feed import ReachabilityFeed
from extproc.serve.rollout_driver import RolloutDriver
from extproc.serve.servicer import handler_factory
from extproc.serve.span_service import SpanService
from extproc.telemetry.measured_versions import MeasuredVersions, decode_report
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.received_spans import ReceivedSpans
from extproc.telemetry.recent_traffic_by_caller import RecentTraffic
from extproc.telemetry.serving_gauges import ServingGauges
from extproc.telemetry.spans import EXPORT
from extproc.telemetry.tap import OpenTaps

if TYPE_CHECKING:
    from extproc.kubernetes.policy_source import ClusterPolicies  # lightkube is optional
    from extproc.telemetry.otlp import OtlpExporter  # opentelemetry is optional

log = logging.getLogger(__name__)

_ENTRIES_INTERVAL = 0.25
"""Seconds within which an Envoy sends the entry of a request that has ended (its ``ACCOUNT_INTERVAL``, and some)."""

FULL_COLLECTION_THRESHOLD = 100
"""Python's own is 10. A full garbage collection takes 20 ms where 20,000 streams are open, which holds up every other
request, and what has ended is freed without one.
"""


class Server:
    """One processor, in this process."""

    def __init__(self, options: ServeOptions) -> None:
        """Loads the policy files and takes the admin port. Raises ``PolicyProblems`` and ``SetupError``."""
        self._options = options
        self._metrics = Metrics()
        keys = read_session_keys(options.session_key)
        self._cluster = _cluster_policies(options, self._on_reload, keys) if options.in_cluster else None
        self._policy_watcher = self._cluster or PolicyWatcher(
            options.policies, on_reload=self._on_reload, locality=options.locality, session_keys=keys
        )
        if self._cluster is not None:
            self._metrics.cluster = self._cluster.gauges
        self._measured = MeasuredVersions()
        self._board = EndpointBoard(options)
        self._follow_snapshot()
        for problem in self._policy_watcher.warnings:
            log.warning("%s", problem)
        self._otlp = _otlp_exporter(options, self._metrics)
        self._loads = PoolLoads()
        self._breakers = Breakers(time.perf_counter, options.siblings, lambda: self._loads.unreachable)
        reachability = ReachabilityFeed(self._snapshot, self._loads, self._metrics.count_error)
        self._feeds = PoolFeed(self._snapshot, self._loads, self._metrics), reachability, self._board
        self._picks = EndpointPicks(lambda: self._board.row, lambda: self._loads.unreachable, self._breakers)
        self._metrics.serving = lambda: ServingGauges(
            reachability.up,
            self._loads.numbers(time.perf_counter()),
            {pool.name: (pool.cluster, pool.locality) for pool in self._policy_watcher.snapshot.pools},
            self._breakers.describe(self._policy_watcher.snapshot),
            *self._board.gauges(),
            self._picks.waiting(self._policy_watcher.snapshot),
        )
        self._health, self._state = Health(), "starting"
        self._timer: Timer | None = None
        self._recent, self._taps, self._spans = RecentTraffic(), OpenTaps(), ReceivedSpans()
        content = AdminContent(
            lambda: self._metrics,
            self._unready,
            self._config,
            self._recent.report,
            self._taps.open,
            self._rollouts,
            self._measured.report,
            self._spans.spans,
            self._spans.raw,
        )
        self._admin = AdminServer(options.admin, content)
        self._rollout_driver = self._new_rollout_driver()
        self._access_log = AccessLogService(self._snapshot, self._metrics, self._on_account, self._picks)
        shared = self._on_observed, self._loads, self._breakers, self._picks
        self._engine = create(
            options.listen,
            {
                PROCESS: handler_factory(self._snapshot, self._metrics, options.max_streams, *shared),
                STREAM: self._access_log.open,
                EXPORT: SpanService(self._spans, self._metrics).open,
                **self._health.services(),
            },
            Settings(tls=Certificates.of_files(*options.tls_files), keepalive=options.keepalive),
            options.engine,
        )

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT, then drains. The exit status. Raises ``SetupError``."""
        before = {number: signal.signal(number, handler) for number, handler in self._signals().items()}
        self._admin.start()
        self._policy_watcher.start()
        for feed in self._feeds:
            feed.start()
        if self._rollout_driver:
            self._rollout_driver.start()
        if self._otlp:
            self._otlp.start()
        try:
            self._engine.run(self._on_started)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._otlp:
                self._otlp.stop()
            if self._rollout_driver:
                self._rollout_driver.stop()
            for feed in self._feeds:
                feed.stop()
            self._policy_watcher.stop()
            self._admin.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
        log.info("drained, bye")
        return 0

    def _signals(self) -> Mapping[signal.Signals, Callable[[int, FrameType | None], None]]:
        return {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGHUP: lambda _number, _frame: self._policy_watcher.request_reload(),
        }

    def _on_started(self) -> None:
        self._state = ""
        self._health.serving = not self._unready()
        addresses = [
            a if a.startswith("unix:") else f"{a.rpartition(':')[0]}:{port}"
            for a, port in zip(self._options.listen, self._engine.ports, strict=True)
        ]
        admin = f"port {self._admin.port}" if self._admin.port else self._options.admin
        log.info("serving ext_proc on %s, admin on %s", ", ".join(addresses), admin)
        gc.freeze()  # objects of the start live on: collections need not scan them, nor look now for the few that don't
        gc.enable()
        gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTION_THRESHOLD)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._state == "draining":
            log.warning("second %s: leaving at once", signal.Signals(number).name)
            os._exit(128 + number)
        self._state = "draining"
        self._health.serving = False
        drain, grace = self._options.drain, self._options.grace
        log.info("draining: new ext_proc streams are served for %gs, open ones have %gs more", drain, grace)
        self._timer = Timer(self._options.drain, self._stop)
        self._timer.daemon = True
        self._timer.start()

    def _stop(self) -> None:
        self._engine.stop(self._options.grace)
        self._end_access_logs()

    def _end_access_logs(self, quiet: bool = False) -> None:
        """Ends their streams when all others have ended, and the entries of these have come."""
        if quiet and not self._metrics.streams:
            self._access_log.end_streams()
            return
        self._timer = Timer(_ENTRIES_INTERVAL, self._end_access_logs, [not self._metrics.streams])
        self._timer.daemon = True
        self._timer.start()

    def _on_reload(self, ok: bool, problems: Sequence[Problem]) -> None:
        self._metrics.count_reload(ok)
        self._follow_snapshot()
        if not ok:
            self._metrics.count_error("policy_reload")
        for problem in problems:
            log.log(logging.WARNING if problem.warning else logging.ERROR, "%s", problem)
        if not self._unready():  # the first policies of a cluster come after the start
            self._health.serving = True
            if self._unready():  # a signal to stop has come meanwhile
                self._health.serving = False

    def _snapshot(self) -> Snapshot:
        return self._policy_watcher.snapshot

    def _follow_snapshot(self) -> None:
        self._metrics.set_snapshot(self._policy_watcher.snapshot)
        self._measured.set_snapshot(self._policy_watcher.snapshot)
        self._board.follow(self._policy_watcher.snapshot)

    def _new_rollout_driver(self) -> RolloutDriver | None:
        """None for a worker, whose supervisor drives the rollouts of all, and for a processor of a cluster."""
        if self._options.supervised or self._options.in_cluster:
            return None
        return RolloutDriver(
            self._options.policies,
            lambda: self._policy_watcher.snapshot,
            lambda: decode_report(self._measured.report()),
            self._policy_watcher.request_reload,
        )

    def _rollouts(self) -> Sequence[Mapping[str, Any]]:
        snapshot, paths = self._policy_watcher.snapshot, self._options.policies
        if paths and not self._options.in_cluster:
            return describe_rollouts(RolloutFiles(paths), snapshot)
        # In a cluster the controller knows what was measured.
        return [one for policy in snapshot.policies if (one := describe(policy, None)) is not None]

    def _on_observed(self, sender: Sender, observed: Observed) -> None:
        """An exchange has finished."""
        self._access_log.note_observed(observed)
        self._recent.note(observed)
        self._measured.note(observed)
        self._taps.note(observed)
        if self._otlp:
            self._otlp.note(sender.metadata, observed)

    def _on_account(self, account: RequestAccount) -> None:
        """Envoy tells of a request that has ended."""
        self._breakers.account(self._policy_watcher.snapshot, account)
        self._recent.account(account)
        self._measured.account(account)
        self._taps.account(account)
        if self._otlp:
            self._otlp.account(account)

    def _unready(self) -> str:
        return self._state or (self._cluster.unready if self._cluster is not None else "")

    def _config(self) -> Mapping[str, Any]:
        cluster = {} if self._cluster is None else {"kubernetes": self._cluster.describe()}
        return {
            **effective_policy.describe(self._policy_watcher.snapshot),
            **cluster,
            "loaded_at": self._policy_watcher.loaded_at,
            "free": self._loads.describe(time.perf_counter()),
            "renderings": self._metrics.renderings.describe(time.perf_counter()),
            "warnings": [problem.as_dict() for problem in self._policy_watcher.warnings],
            "problems": [problem.as_dict() for problem in self._policy_watcher.problems],
        }


def _cluster_policies(
    options: ServeOptions, on_reload: Callable[[bool, Sequence[Problem]], None], session_keys: tuple[bytes, ...]
) -> ClusterPolicies:
    try:
        from extproc.kubernetes.policy_source import ClusterPolicies
        from extproc.kubernetes.pool_source import WantedPools
    except ModuleNotFoundError as error:
        raise not_installed(error, "kubernetes") from None
    return ClusterPolicies(
        options.namespace if options.kubernetes else None,
        *(options.policies, options.snapshot_directory, on_reload),
        locality=options.locality,
        session_keys=session_keys,
        pools=WantedPools(options.inference_pool, options.inference_pools_of),
    )


def _otlp_exporter(options: ServeOptions, metrics: Metrics) -> OtlpExporter | None:
    if not options.otlp:
        return None
    try:
        from extproc.telemetry.otlp import OtlpExporter
    except ModuleNotFoundError as error:
        raise not_installed(error, "otlp", ", or turn it off with --otlp ''") from None
    try:
        return OtlpExporter(options.otlp, metrics)
    except Exception as error:  # OpenTelemetry has its own for each variable
        raise SetupError(f"an OTEL_ variable of the environment can't be used: {error}") from None
