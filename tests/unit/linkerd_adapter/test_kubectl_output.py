"""The output of ``kubectl get … -o yaml``: every form in which it may come, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from linkerd_adapter import kubectl_output

from extproc.errors import SetupError
from tests.linkerd.live_cluster import applied, chat, explained, one


def test_lists_documents_and_nulls_are_read(tmp_path: Path) -> None:
    """As kubectl writes them: one List of everything, or files put together; JSON too."""
    docs = applied()
    one(docs, "HTTPRoute", "chat")["spec"]["hostnames"] = None
    single = {"apiVersion": "v1", "kind": "List", "items": docs, "metadata": {"resourceVersion": ""}}
    halves = [{"apiVersion": "v1", "kind": "ServiceList", "items": docs[:3]}, {"kind": "List", "items": docs[3:]}]
    texts = [
        yaml.safe_dump(single),
        "---\n".join([*map(yaml.safe_dump, halves), ""]),
        "---\n".join(map(yaml.safe_dump, docs)),
        json.dumps(single),
        yaml.safe_dump(single).replace("'2026-01-01T00:00:00Z'", "2026-01-01T00:00:00Z"),
    ]
    wanted = explained(docs, chat(x_beta="true"))
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert explained(kubectl_output.read(file), chat(x_beta="true")) == wanted


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: [", "is no YAML"),
        (b"", "holds no resource"),
        (b"- 1\n", "holds no resource"),
        (b"\xff\xfe\x00", "is no YAML"),
    ],
)
def test_what_is_no_output_of_kubectls_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "live.yaml"
    file.write_bytes(content)
    with pytest.raises(SetupError, match=why):
        kubectl_output.read(file)
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        kubectl_output.read(tmp_path / "nothing")
