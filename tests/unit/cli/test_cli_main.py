"""The command ``extproc``: exit statuses, help, and that a command loads only what it needs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from extproc import __version__
from extproc.cli import main as module
from extproc.cli.main import COMMANDS, main, parser
from extproc.errors import PolicyProblems, Problem, SetupError
from tests.unit.cli.command_lines import help_of, refused

HEAVY = ("rich", "aiohttp", "grpc", "prometheus_client", "opentelemetry", "numpy")
UNUSED = (
    *("extproc.lint", "extproc.doctor", "extproc.demo", "extproc.gateway", "extproc.admin", "extproc.apis"),
    *("extproc.render.prometheus", "extproc.render.grafana", "extproc.telemetry", "extproc.policyfile"),
    *("extproc.http2", "extproc.grpc_server", "extproc._pb"),
)


def loaded(*words: str) -> set[str]:
    """Modules that a process has loaded after this command line."""
    code = (
        "import sys\nfrom extproc.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\nprint('loaded', *sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(found.stdout.rpartition("loaded ")[2].split())


@pytest.mark.parametrize("words", [["serve", "--help"], ["--version"], ["up", "--help"]])
def test_help_loads_nothing_that_only_running_needs(words: list[str]) -> None:
    modules = loaded(*words)
    assert f"extproc.cli.{'up' if words[0] == 'up' else 'serve'}" in modules
    assert [m for m in sorted(modules) for name in (*HEAVY, *UNUSED) if m == name or m.startswith(f"{name}.")] == []


def test_a_command_loads_no_other() -> None:
    modules = loaded("serve", "--help")
    assert [name for name in COMMANDS if f"extproc.cli.{name.replace('-', '_')}" in modules] == ["serve"]


def test_every_command_is_listed_with_an_example_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    top = help_of(capsys)
    assert "extproc check -f policy.yaml                  find every mistake in a policy file" in top
    for name in COMMANDS:
        assert re.search(rf"^    {name}\s", top, re.MULTILINE)
        if name != "render":
            assert f"examples:\n  extproc {name}" in help_of(capsys, name)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"extproc {__version__}\n"


def test_a_command_that_there_is_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'severe'" in refused(capsys, "severe")


def test_without_a_word_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == parser().format_help()


PROBLEM = Problem("p.yaml", 1, 2, "spec", "is wrong", "mend it")


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (None, 0, ""),
        (SetupError("one\ntwo"), 1, "extproc: one\nextproc: two\n"),
        (PolicyProblems([PROBLEM]), 2, f"{PROBLEM}\n1 error, 0 warnings\n"),
        (BrokenPipeError(), 1, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_statuses(
    raised: BaseException | None,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(_: object) -> int:
        if raised is not None:
            raise raised
        return 0

    parser = module.parser()
    monkeypatch.setattr(parser, "parse_args", lambda _: type("Namespace", (), {"run": staticmethod(run)}))
    monkeypatch.setattr(module, "parser", lambda _: parser)
    assert main(["stat"]) == status
    assert capsys.readouterr() == ("", said)


def test_the_process_has_that_exit_status() -> None:
    found = subprocess.run([sys.executable, "-m", "extproc", "check", "-f", "/nowhere"], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (1, "")
    assert "/nowhere: error: does not exist" in found.stdout
