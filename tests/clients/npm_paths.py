"""Every path that npm's SDKs can call, from their sources: ``python -m tests.clients.npm_paths FOLDER``, where they are
installed. Each is one that the processor reads, or begins as one of ``NOT_READ``, which says why it is none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from extproc import apis
from extproc.headers import Headers


class Source(NamedTuple):
    """Where an SDK writes its paths down."""

    sdk: str
    files: str
    """A pattern of files in its folder."""
    calls: str
    """A regular expression that finds each call."""
    paths: str
    """One that finds it with its method and path, groups of these names."""
    before: str = ""
    """What comes before a path."""
    untold: int = 0
    """Calls whose path is no text: it is a variable, or came from the server."""


_VERBS = "get|post|put|delete|patch|getAPIList"
_STAINLESS = (
    rf"this\._client\s*\.\s*(?:{_VERBS})\(",
    rf"this\._client\s*\.\s*(?P<method>{_VERBS})\(\s*(?:path\s*)?[`'](?P<path>[^`']*)[`']",
)
SOURCES = (
    Source("openai", "resources/**/*.mjs", *_STAINLESS, before="/v1"),
    Source("@anthropic-ai/sdk", "resources/**/*.mjs", *_STAINLESS, untold=2),  # where results of batches are
    Source(
        "@google/genai",
        "dist/node/index.mjs",
        r"path = formatMap\(",
        r"path = formatMap\('(?P<path>[^']*)'(?:(?!formatMap).)*?httpMethod: '(?P<method>[A-Z]+)'",
        before="/v1beta/",
        untold=2,  # embedContent or predict of Vertex AI, and batchGenerateContent
    ),
    Source(
        "@google/genai",
        "dist/node/index.mjs",
        r'pathToFunc\("/',
        r'pathToFunc\("(?P<path>[^"]*)".*?method: "(?P<method>[A-Z]+)"',
    ),
    Source(
        "@mistralai/mistralai",
        "esm/funcs/*.js",
        r"pathToFunc\(",
        r'pathToFunc\("(?P<path>[^"#]*)(?:#[a-zA-Z]*)?".*?method: "(?P<method>[A-Z]+)"',
    ),
    Source(
        "cohere-ai",
        "**/Client.js",
        r"core\.url\.join\(",
        r"core\.url\.join\(.*?[\"`](?P<path>v[12]/[^\"`]*)[\"`]\),\s*method: \"(?P<method>[A-Z]+)\"",
        before="/",
    ),
    Source(
        "ollama",
        "dist/browser.mjs",
        r"\$\{this\.config\.host\}",
        r"(?:(?P<method>get|post|del)\(\s*this\.fetch,\s*)?`\$\{this\.config\.host\}(?P<path>[^`]*)`",
    ),
    Source(
        "@aws-sdk/client-bedrock-runtime",
        "dist-es/schemas/schemas_0.js",
        r"\[_hC?tp\]|http: \[|\[\"(?:GET|POST)\", ",
        r'\["(?P<method>GET|POST)", "(?P<path>[^"]*)"',
    ),
)

_FILES = (
    *("containers", "datasets", "files/x/url", "libraries", "memory_stores", "skills", "uploads", "vector_stores"),
    *("connectors", "embed-jobs", "rag"),
)
_ADMINISTRATION = (
    *("check-api-key", "evals", "fine_tuning", "finetuning", "models", "observability", "organization"),
    *("organizations", "projects", "safety", "service-accounts", "tunnels", "user_profiles", "users", "vaults"),
    *("webhook_endpoints", "webhook_event_types"),
)
_AGENTS = (
    *("agents", "chatkit", "client/sessions", "deployment_runs", "deployments", "dreams", "environments", "live"),
    *("sessions", "workflows", "realtime/client_secrets", "realtime/transcription_sessions"),
    "realtime/translations/client_secrets",
)
_OF_GEMINI = (
    *("auth_tokens", "batchPredictionJobs", "batches", "cachedContents", "credentials", "fileSearchStores", "files"),
    *("tunedModels", "tuningJobs", "upload", "voices", "webhooks", "models/x"),
)
NOT_READ: dict[str, tuple[str, ...]] = {
    "files, and what is made of them": (*(f"/v1/{name}" for name in _FILES), "/v2/skills", "/upload/v1beta"),
    "tuning and administration": (
        *(f"/v1/{name}" for name in _ADMINISTRATION),
        *(f"/v1beta/{name}" for name in _OF_GEMINI),
        *("/v2/prompts", "/v1/audio/voices", "/v1/audio/voice_consents"),
        *("/api/copy", "/api/delete", "/api/ps", "/api/tags", "/api/version"),
    ),
    "an agent or a session is named, whose model the server knows": (
        *(f"/v1/{name}" for name in _AGENTS),
        *(f"/v1beta/{name}" for name in ("agents", "environments", "triggers")),
    ),
    "what is kept is listed, or asked for by an id that the server gave": (
        *("/v1/batch/jobs", "/v2/batches", "/v1beta/x"),
        "GET /v1/conversations",
    ),
    "forms or JSON, as the client likes": ("/v1/videos",),
    "given up by its maker": ("/v1/summarize",),
    "no model is asked": ("/guardrail", "/guardrail-checks", "/v2/parse", "/v1/content_provenance_checks"),
    "the common beginning of /api/generate, /api/chat and others": ("/api/x",),
}
"""By the reason: paths, with all below them; with a method, that call alone."""


def calls(modules: Path, source: Source) -> Iterator[str]:
    """``POST /v1/embeddings``: each call of an SDK, with ``x`` in the place of what varies.

    Raises ``AssertionError`` where a call's path is not understood.
    """
    told = found = 0
    for file in sorted((modules / source.sdk).glob(source.files)):
        text = file.read_text()
        told += len(re.findall(source.calls, text))
        for match in re.finditer(source.paths, text, re.DOTALL):
            found += 1
            yield f"{_method(match['method'])} {source.before}{_filled(match['path'])}"
    assert found == told - source.untold, f"{source.sdk}: {found} paths of {told} calls are understood"
    assert found, f"{source.sdk} has no calls"


def _method(written: str | None) -> str:
    return {None: "POST", "getAPIList": "GET", "del": "DELETE"}.get(written) or str(written).upper()


def _filled(path: str) -> str:
    """The path with names in the place of its parameters."""
    named = path.replace("{model}", "models/x").replace("{api_version}", "v1beta")
    return re.sub(r"\$?\{[^}]*\}", "x", named)


def reason(line: str) -> str:
    """Why a call is not read, by ``NOT_READ``; empty where nothing is said of it."""
    path = line.partition(" ")[2].partition("?")[0]
    for why, listed in NOT_READ.items():
        if line in listed or any(path == one or path.startswith((f"{one}/", f"{one}:")) for one in listed):
            return why
    return ""


def is_read(line: str) -> bool:
    """Whether the processor reads such a call."""
    method, _, target = line.partition(" ")
    return apis.classify(method, target, Headers()) is not None


def main() -> int:
    """Prints what is wrong; returns the exit status."""
    modules = Path(sys.argv[1], "node_modules")
    if not modules.is_dir():
        print("skipped: paths of npm's SDKs, which are not installed")
        return 0
    found = {(source.sdk, line) for source in SOURCES for line in calls(modules, source)}
    unknown = sorted((sdk, line) for sdk, line in found if not is_read(line) and not reason(line))
    for sdk, line in unknown:
        print(f"{sdk} calls {line}, which is neither read nor listed in NOT_READ")
    reads = sum(is_read(line) for _, line in found)
    print(f"{reads} calls of npm's SDKs are read, and {len(found) - reads - len(unknown)} are none for a model")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
