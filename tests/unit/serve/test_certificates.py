"""Which of the TLS options go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.errors import SetupError
from extproc.serve import certificates as module
from extproc.serve.certificates import certificates
from extproc.serve.options import ServeOptions

CERT, KEY, CA = Path("tls.crt"), Path("tls.key"), Path("ca.crt")


def options(cert: Path | None = None, key: Path | None = None, ca: Path | None = None) -> ServeOptions:
    return ServeOptions(policies=(), tls_cert=cert, tls_key=key, tls_client_ca=ca)


def test_without_files_it_serves_in_the_clear() -> None:
    assert certificates(options()) is None


@pytest.mark.parametrize("one", [options(cert=CERT), options(key=KEY), options(ca=CA), options(CERT, None, CA)])
def test_half_of_them_is_an_error(one: ServeOptions) -> None:
    with pytest.raises(SetupError, match="both --tls-cert and --tls-key"):
        certificates(one)


@pytest.mark.parametrize("ca", [None, CA])
def test_the_files_are_those_of_the_options(ca: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Certificates", lambda *files: files)
    assert certificates(options(CERT, KEY, ca)) == (CERT, KEY, ca)  # type: ignore[comparison-overlap]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"none\.crt"):
        certificates(options(tmp_path / "none.crt", tmp_path / "none.key"))
