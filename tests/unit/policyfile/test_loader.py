"""Policy files as a whole: the article's own document, files on the disk, and that nothing else is ever raised."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.errors import PolicyProblems
from extproc.policy.custom_metric import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, SECONDS, CustomMetric
from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import RetryBudget
from extproc.policyfile import loader
from extproc.policyfile.effective_policy import describe
from extproc.policyfile.loader import PolicyTexts, build, load
from tests import fast_yaml
from tests.policy_documents import file, found, load_texts, policy, pool, said

ARTICLE = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata:
  name: gpu-optimized-routing
spec:
  selector:
    matchLabels:
      app: model-inference
  gpuRequirements:
    minMemory: 8Gi
    architecture: "a100"
  trafficManagement:
    timeout: 60s
    retryBudget:
      minRetriesPerSecond: 10
      retryRatio: 0.25
  observability:
    customMetrics:
    - name: "inference_throughput"
      type: GAUGE
      labels: ["model_version", "gpu_type"]
    - name: "feature_cache_hit_ratio"
      type: GAUGE
      labels: ["model_name"]
"""


def refused(*paths: Path) -> list[str]:
    with pytest.raises(PolicyProblems) as error:
        load(paths)
    return [str(problem) for problem in error.value.problems]


def test_the_articles_document_is_taken_as_it_stands_and_means_something() -> None:
    loaded = load_texts([("article.yaml", ARTICLE)])
    (only,) = loaded.snapshot.policies
    assert loaded.warnings == ()
    assert (only.name, only.host, only.port, only.models) == ("gpu-optimized-routing", "model-inference", 8080, ("*",))
    assert only.selector == (("app", "model-inference"),)
    assert (only.gpu, only.timeout, only.retry_budget) == (Requirement("a100", 8192), 60.0, RetryBudget(0.25, 10))
    assert only.custom_metrics == (
        CustomMetric("inference_throughput", "GAUGE", ("model_version", "gpu_type"), OUTPUT_TOKENS, SECONDS),
        CustomMetric("feature_cache_hit_ratio", "GAUGE", ("model_name",), CACHED_TOKENS, INPUT_TOKENS),
    )


def test_the_generation_is_the_one_given() -> None:
    assert load_texts([("a.yaml", ARTICLE)]).snapshot.generation == 1
    assert build(PolicyTexts((("a.yaml", ARTICLE),)), generation=7).snapshot.generation == 7


def test_the_order_of_documents_is_kept_over_files() -> None:
    loaded = load_texts([("b", file(policy("models: [b]", "b"), policy("models: [c]", "c"))), ("a", policy("{}", "a"))])
    assert [p.name for p in loaded.snapshot.policies] == ["b", "c", "a"]


def test_every_problem_of_every_file_is_reported_in_the_order_of_the_text() -> None:
    text = file(policy("port: 0\nmodels: []\nhots: a"), pool("{}"))
    problems = [said(p) for p in found(text, "a: b: c", policy("models: ['?']", "b"))]
    starts = [
        "5 spec.port: 0 is out of range; give a number from 1 to 65535",
        "6 spec.models: is an empty list; give an item, or remove the field",
        '7 spec.hots: is not a known field; did you mean "host"?',
        "13 spec: names neither product nor architecture; give product (the node label nvidia.com/gpu.product) or arch",
        "1 : not valid YAML: mapping values are not allowed in this context; correct the YAML here or just before",
        'warning 5 spec.models[0]: only * is special in a pattern: "?" is taken as it stands; use * instead',
    ]
    assert len(problems) == len(starts)
    assert all(map(str.startswith, problems, starts))


def test_a_problem_tells_place_path_and_remedy() -> None:
    with pytest.raises(PolicyProblems, match="port") as error:
        load_texts([("p.yaml", policy("port: 0"))])
    assert str(error.value) == "p.yaml:5:9: error: spec.port: 0 is out of range; give a number from 1 to 65535"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n"])
def test_files_without_any_document(text: str) -> None:
    assert [said(p) for p in found(text)] == [
        "warning 0 : holds no document; write a policy into it, or remove it",
        "0 : no ModelInferencePolicy is declared; declare one: docs/policy.md shows how",
    ]


def test_pools_alone_are_no_policy() -> None:
    problems = found(pool())
    assert problems[-1].message == "no ModelInferencePolicy is declared"
    assert not problems[-1].warning


def test_an_empty_file_beside_a_policy_is_only_doubted() -> None:
    assert [said(p) for p in found(policy(), "")] == [
        "warning 0 : holds no document; write a policy into it, or remove it"
    ]


def test_no_files_at_all() -> None:
    with pytest.raises(PolicyProblems, match="no file was given: error: no ModelInferencePolicy is declared"):
        load_texts([])


def test_a_directory_gives_its_yaml_files_by_name(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.txt", ".hidden.yaml", "..2026.yaml"):
        (tmp_path / name).write_text(policy(f"models: [{name}]", name.strip(".")))
    (tmp_path / "below.yaml").mkdir()
    (tmp_path / "below.yaml" / "d.yaml").write_text("no policy")
    assert [p.name for p in load([tmp_path]).snapshot.policies] == ["a.yml", "b.yaml"]


def test_a_config_map_as_the_kubelet_mounts_it(tmp_path: Path) -> None:
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "policy.yaml").write_text(policy())
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    assert [p.name for p in load([tmp_path]).snapshot.policies] == ["chat"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy())
    assert len(load([path, tmp_path, path]).snapshot.policies) == 1


def test_what_cannot_be_read_and_what_is_wrong_in_the_rest(tmp_path: Path) -> None:
    bad, good, empty = tmp_path / "bad.yaml", tmp_path / "good.yaml", tmp_path / "empty"
    bad.write_bytes(b"a: 1\nb: \xff\n")
    good.write_text(policy("port: 0"))
    empty.mkdir()
    assert refused(tmp_path / "none.yaml", bad, good, empty, good / "x.yaml") == [
        f"{tmp_path}/none.yaml: error: does not exist; check the path",
        f"{bad}:2:4: error: not UTF-8: the byte 0xff; save the file as UTF-8",
        f"{empty}: error: no *.yaml or *.yml is in this directory; put a policy file into it",
        f"{good}/x.yaml: error: cannot be read: Not a directory; check the path and its permissions",
        f"{good}:5:9: error: spec.port: 0 is out of range; give a number from 1 to 65535",
    ]


def test_a_file_may_be_so_large_and_no_larger(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    text = policy()
    path.write_text(text + "#" * (loader.MAX_SIZE - len(text)))
    assert load([path]).snapshot.policies
    path.write_text(text + "#" * (loader.MAX_SIZE - len(text) + 1))
    assert refused(path) == [f"{path}: error: larger than 4 MiB; split it into several files"]


def test_a_pipe_is_read_once_and_not_watched() -> None:
    """As ``extproc check -f <(helm template …)`` has it."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w") as pipe:
        pipe.write(policy())
        pipe.flush()
        path = Path(f"/dev/fd/{reading}")
        (problem,) = loader.read([path], watched=True).problems
        assert problem.message == "cannot be read: it is a FIFO (named pipe), and not a file"
        pipe.close()
        assert [p.name for p in load([path]).snapshot.policies] == ["chat"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy())
    path.chmod(0)
    assert refused(path) == [f"{path}: error: cannot be read: Permission denied; check the path and its permissions"]


def only_policy_problems(text: str) -> None:
    try:
        load_texts([("f.yaml", text)])
    except PolicyProblems as error:
        problems = error.problems
    else:
        return
    assert any(not problem.warning for problem in problems)
    assert all(problem.message and problem.remedy for problem in problems)


@settings(deadline=None)
@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    only_policy_problems(text)


WORDS = st.sampled_from(
    [
        *re.findall(r"[\w./-]+", ARTICLE),
        *(
            "host",
            "port",
            "models",
            "versions",
            "weight",
            "match",
            "headers",
            "gpuPools",
            "modelRewrite",
            "v1",
            "sticky",
        ),
        *(
            "header",
            "cookie",
            "body",
            "/user",
            "x-user-id",
            "allowPin",
            "onNoGpu",
            "ignore",
            "limits",
            "maxBody",
            "80Gi",
        ),
        *("GpuPool", "product", "memory", "locality", "endpoints", "metrics", "type", "url"),
    ]
)
VALUES = st.recursive(
    st.one_of(WORDS, st.text(), st.none(), st.booleans(), st.integers(), st.floats(), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=6)),
    max_leaves=40,
)


@settings(deadline=None)
@given(VALUES, st.sampled_from(["ModelInferencePolicy", "GpuPool"]))
def test_no_yaml_raises_anything_else(spec: Any, kind: str) -> None:
    head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": kind, "metadata": {"name": "a"}}
    only_policy_problems(fast_yaml.dump(spec))
    only_policy_problems(fast_yaml.dump({**head, "spec": spec}))
    if isinstance(spec, dict):
        only_policy_problems(fast_yaml.dump({**head, "spec": dict.fromkeys(spec, spec)}))


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", fullmatch=True)
ENDPOINTS = st.lists(st.builds("{}:{}".format, NAMES, st.integers(1, 65535)), min_size=1, max_size=3, unique=True)
VERSIONS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "weight": st.integers(1, 1_000_000)},
        optional={
            "endpoints": ENDPOINTS,
            "modelRewrite": NAMES,
            "match": st.builds(
                lambda h: [{"headers": h}], st.dictionaries(NAMES, st.text("abc", min_size=1), min_size=1)
            ),
        },
    ),
    max_size=4,
    unique_by=(lambda v: v["name"], lambda v: repr(v.get("match", v["name"]))),
).filter(lambda versions: not {"none", "other"} & {v["name"] for v in versions})
SPECS = st.fixed_dictionaries(
    {
        "host": NAMES,
        "port": st.integers(1, 65535),
        "models": st.lists(NAMES, min_size=1, max_size=4, unique=True),
        "versions": VERSIONS,
        "allowPin": st.booleans(),
        "onNoGpu": st.sampled_from(["reject", "ignore"]),
    }
)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, SPECS), min_size=1, max_size=3, unique_by=lambda p: p[0]))
def test_a_policy_that_is_right_comes_out_as_it_went_in(policies: list[tuple[str, Any]]) -> None:
    documents = []
    for i, (name, spec) in enumerate(policies):
        spec["models"] = [f"{model}-{i}" for model in spec["models"]]
        written = {key: value for key, value in spec.items() if value or key != "versions"}
        head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": "ModelInferencePolicy", "metadata": {"name": name}}
        documents.append({**head, "spec": written})
    described = describe(load_texts([("f.yaml", fast_yaml.dump_all(documents))]).snapshot)
    for (name, spec), shown in zip(policies, described["policies"], strict=True):
        absent = {"endpoints": [], "modelRewrite": "", "match": []}
        wanted = [{**absent, **version} for version in spec["versions"]]
        assert [{key: version[key] for key in (*absent, "name", "weight")} for version in shown["versions"]] == wanted
        assert shown["name"] == name
        assert {key: shown[key] for key in spec if key != "versions"} == {
            k: v for k, v in spec.items() if k != "versions"
        }
