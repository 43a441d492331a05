"""Files of the policy, given to Envoy when they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.gateway.secret_files import SecretFiles
from extproc.render.envoy.secrets import Secret

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


class Written:
    def __init__(self) -> None:
        self.files: list[tuple[str, list[dict[str, Any]]]] = []

    def __call__(self, file: str, resources: list[dict[str, Any]]) -> None:
        self.files.append((file, resources))


def secret(directory: Path, name: str, text: str) -> Secret:
    (directory / name).write_text(PEM.format(text))
    return Secret("authority", (str(directory / name),))


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    written, one, two = Written(), secret(tmp_path, "one", "1"), secret(tmp_path, "two", "2")
    files = SecretFiles(written)
    files.follow([one, two])
    assert [file for file, _ in written.files] == [one.discovery_file, two.discovery_file]
    files.refresh()
    files.follow([two])
    assert len(written.files) == 2
    secret(tmp_path, "two", "3")
    files.refresh()
    assert written.files[2:] == [(two.discovery_file, [two.resource((PEM.format("3").encode(),))])]


def test_what_cant_be_read_stays_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written, one = Written(), secret(tmp_path, "one", "1")
    files = SecretFiles(written)
    files.follow([one])
    (tmp_path / "one").unlink()
    for _ in range(3):
        files.refresh()
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.endswith(f"cannot read {tmp_path}/one, which the policy or a flag names: No such file or directory")
    secret(tmp_path, "one", "2")
    files.refresh()
    assert len(written.files) == 2


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("nothing", "holds no PEM block")])
def test_a_policy_that_names_what_cant_be_used_is_not_followed(content: str | None, why: str, tmp_path: Path) -> None:
    written, file = Written(), tmp_path / "ca"
    if content:
        file.write_text(content)
    with pytest.raises(SetupError, match=why):
        SecretFiles(written).follow([Secret("authority", (str(file),))])
    assert written.files == []


@pytest.mark.parametrize(("content", "key"), [(" abc-1\n", b"abc-1"), ("a b", b"a b")])
def test_a_key_is_read_without_what_is_around_it(content: str, key: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    written, one = Written(), Secret("credential", (str(tmp_path / "key"),))
    SecretFiles(written).follow([one])
    assert written.files == [(one.discovery_file, [one.resource((key,))])]


@pytest.mark.parametrize("content", ["", "\n", "abc\ndef", "abc\u00e9"])
def test_what_is_no_key_is_not_given_and_not_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(SetupError, match="does not hold a key") as raised:
        SecretFiles(Written()).follow([Secret("credential", (str(tmp_path / "key"),))])
    assert "abc" not in str(raised.value)
