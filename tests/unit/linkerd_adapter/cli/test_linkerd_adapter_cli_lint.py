"""`linkerd-adapter lint`: files and stdin in, text or JSON out, an exit status; our own rendering has no findings."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from linkerd_adapter.cli.main import main

from extproc.policyfile import loader
from tests.lint.linkerd.corpus import HERE

WARNED = HERE / "bad" / "lnk601-request-timeout.yaml"
WRONG = HERE / "bad" / "lnk403-all-zero.yaml"
GOOD = HERE / "good" / "canary.yaml"

POLICIES = {
    "canary": "versions: [{name: v1, weight: 90}, {name: v2, weight: 10, match: [{headers: {x-beta: 'true'}}]}]",
    "no versions": "models: ['llama-3-8b', 'llama-3-*']",
    "timeout": "trafficManagement: {timeout: 60s, retryBudget: {minRetriesPerSecond: 10, retryRatio: 0.25}}",
    "another port": "host: llm.ai.svc.cluster.local\n  port: 8080\n  versions: [{name: v1, weight: 1}]",
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = main(["lint", *map(str, arguments)])
    printed = capsys.readouterr()
    assert printed.err == ""
    return status, printed.out


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_text_has_each_finding_in_the_order_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = run(capsys, WRONG, WARNED)
    lines = printed.splitlines()
    assert status == 1
    assert lines[0].startswith(f"{WRONG}:10:7: error LNK403: spec.rules[0].backendRefs[0]: every backend of a rule")
    assert lines[1].startswith(f"{WARNED}:10:16: warning LNK601: spec.rules[0].timeouts.request: ")
    assert lines[2:] == ["1 error, 1 warning"]


def test_a_command_before_it_that_failed_is_no_good_news(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"\n")
    status, printed = run(capsys, "-")
    assert (status, printed.splitlines()[0]) == (
        1,
        "<stdin>: error LNK001: nothing came; see what the command before it says",
    )


def test_warnings_alone_are_forgiven(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, WARNED)[0] == 0


def test_what_is_well_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    summary = "ok: routes of Services: 1, other routes: 0, Services: 3, other objects: 0\n"
    assert run(capsys, GOOD) == (0, summary)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = run(capsys, "--json", WRONG)
    report = json.loads(printed)
    [finding] = report["findings"]
    assert (status, report["ok"], report["seen"]["routes of Services"]) == (1, False, 1)
    assert (finding["code"], finding["severity"], finding["line"]) == ("LNK403", "error", 10)
    assert finding["file"] == str(WRONG)


def test_a_directory_is_read_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    route, *services = GOOD.read_text().split("---\n")[::-1]
    (tmp_path / "a.yaml").write_text(route)
    (tmp_path / "b.yaml").write_text("---\n".join(services))
    assert run(capsys, tmp_path)[0] == 0


def test_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, WRONG.read_bytes())
    status, printed = run(capsys, "-")
    assert status == 1
    assert printed.startswith("<stdin>:10:7: error LNK403: ")


def test_more_on_stdin_than_is_read_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "MAX_SIZE", 1 << 20)
    stdin(monkeypatch, GOOD.read_bytes() + b"#" * (1 << 20))
    status, printed = run(capsys, "-")
    assert (status, printed.splitlines()[0]) == (
        1,
        "<stdin>: error LNK001: more than 1 MiB; ask for one namespace at a time",
    )


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, printed = run(capsys, tmp_path / "none.yaml", GOOD)
    assert status == 1
    assert printed.startswith(f"{tmp_path}/none.yaml: error LNK001: does not exist")


@pytest.mark.parametrize("spec", POLICIES.values(), ids=POLICIES.keys())
def test_what_we_render_has_no_findings(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: ai.istio.io/v1alpha1\nkind: ModelInferencePolicy\nmetadata: {name: chat, namespace: ai}\n"
        f"spec:\n  selector: {{matchLabels: {{app: chat}}}}\n  {spec}\n"
    )
    assert main(["render", "-f", str(policy)]) == 0
    rendered = capsys.readouterr().out
    stdin(monkeypatch, rendered.encode())
    status, printed = run(capsys, "--json", "-")
    report = json.loads(printed)
    assert (status, report["findings"]) == (0, [])
    assert report["seen"]["routes of Services"] >= ("versions" in spec)
