"""The real Envoy judges CEL: what the linter takes it compiles, and what the linter refuses it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from extproc.gateway.envoy_process import Envoy
from extproc.lint import cel, re2_regex
from tests.waiting import until

pytestmark = pytest.mark.envoy

TYPE = "type.googleapis.com/envoy."
ECHO = {"name": "echo", "typed_config": {"@type": f"{TYPE}extensions.filters.network.echo.v3.Echo"}}

WRITTEN = [
    "'x-model-version' in request.headers ? request.headers['x-model-version'] : 'none'",
    "request.headers['x-tier'] == 'gold' || request.duration > duration('1s') ? 'gold' : 'other'",
    "request.path.startsWith('/v1') && size(request.headers) < 3",
    "request.time.getHours() > 7 && request.time.getHours('Europe/Zurich') < 20",
    "request.path.matches('^/v1/(chat|completions)$') && matches(request.path, 'a')",
    "re.extract(request.path, '/([^/]+)', 'a') == re.capture(request.path, '/(.*)')",
    "bytes('a') == b'a' && int('1') == 1 && uint(1) == 1u && double(1) == 1.0 && bool('true')",
    "has(request.time) && !has(request.headers) ? 'a' : r'\\d'",
    "{'a': [1, 2, ], 2: -3}['a'][0] == 0x10 // a comment",
    "a.for.size() - -1",
    """'''a
b''' + "\\x41\\u00e9\\101\\?" """,
    "-9223372036854775808 == 18446744073709551615u",
    "!-1 == !true",
    "string(response.code)",
    "request.path.exists(c, c == 'a')",
    "request.path.lowerAscii()",
    "request.path.split('/')[1]",
    "request.path.startsWith('a', 'b')",
    "request.path.matches('(')",
    "request.path.matches('a(?=b)')",
    "getHours(request.time)",
    "has(request)",
    "has(request.headers['a'])",
    "has(size(a))",
    "9223372036854775808",
    "18446744073709551616u",
    "for == 1",
    "package.x",
    "'\\q'",
    "'\\ud800'",
    "b'\\u0041'",
    "'a",
    "-!a",
    "!-a",
    "a.in",
    "a.true",
    "(a)()",
    "1.",
    "a ? b ? c : d : e",
    "size(a,)",
    "é",
    "a = b",
    "",
    "request.headers['a'",
    "(" * 70 + "a" + ")" * 70,
]
PARTS = (
    *("a", "b.c", "'t'", "1", "2.5", "[", "]", "(", ")", "?", ":", "&&", "||", "==", "in b.c", "+", "-", "!", ".", ","),
    *("size('y')", "'y'.size()", "string('y')", "has(a.b)", "{'a': 1}", "as", "1u", "0x1", "r'\\'", "b'a'", "%", "<"),
)
_CHOICE = random.Random(19)
MADE = [" ".join(_CHOICE.choices(PARTS, k=_CHOICE.randint(1, 7))) for _ in range(600)]


def listener(number: int, expression: str) -> dict[str, Any]:
    """A listener whose access log has ``expression`` as its filter: Envoy compiles it when it reads this."""
    kind = f"{TYPE}extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    log = {
        "name": "stdout",
        "typed_config": {"@type": f"{TYPE}extensions.access_loggers.stream.v3.StdoutAccessLog"},
        "filter": {
            "extension_filter": {"name": "cel", "typed_config": {"@type": kind, "expression": expression}},
        },
    }
    return {
        "@type": f"{TYPE}config.listener.v3.Listener",
        "name": str(number),
        "bind_to_port": False,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1024 + number}},
        "filter_chains": [{"filters": [ECHO]}],
        "access_log": [log],
    }


def refusals(expressions: Sequence[str], directory: Path) -> dict[str, str]:
    """What Envoy says of each expression that it refuses: one Envoy, a listener for each."""
    file = directory / "lds.json"
    resources = [listener(number, expression) for number, expression in enumerate(expressions)]
    file.write_text(json.dumps({"version_info": "1", "resources": resources}))
    source = {"resource_api_version": "V3", "path_config_source": {"path": str(file)}}
    document = {
        "node": {"id": "a", "cluster": "a"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {"lds_config": source},
    }
    with Envoy(document, directory, log_level="off") as envoy:
        envoy.wait_ready(60)
        until(lambda: sum(envoy.stats(f"listener_manager.lds.update_{end}").popitem()[1] for end in ENDS) > 0, 60)
        dump = json.loads(envoy.ask("/config_dump")[1])
    found = [row for section in dump["configs"] for row in section.get("dynamic_listeners", [])]
    states = {row["name"]: row.get("error_state", {}).get("details", "") for row in found if "name" in row}
    assert len(states) == len(expressions)
    return {expression: states[str(number)] for number, expression in enumerate(expressions) if states[str(number)]}


ENDS = ("success", "rejected")


def test_envoy_and_the_linter_agree(tmp_path: Path) -> None:
    expressions = list(dict.fromkeys((*WRITTEN, *MADE)))
    refused = refusals(expressions, tmp_path)
    ours = {}
    for expression in expressions:
        try:
            cel.attributes(expression)
        except cel.Unparsable as error:
            ours[expression] = str(error)
    assert {e: said for e, said in refused.items() if e not in ours} == {}
    assert {e: said for e, said in ours.items() if e not in refused} == {}
    assert len(WRITTEN) < len(refused) < len(expressions) - 20


REGEXES = [
    *("a(?=b)", "a(?!b)", "(?<=a)b", "(a)\\1", "a++", "(?>a)", "a{2}+", "(", "[a", "a**", "*a", "a\\", "(?#c)", "\\Z"),
    *(
        "a{1,2000}",
        "(?P<n>a)",
        "(?<n>a)",
        "\\pL",
        "[[:alpha:]]",
        "(?i)a",
        "(?i:a)",
        "\\Qa.b\\E",
        "\\x{41}",
        "a|b",
        "^a$",
    ),
    *("[(?=]", "[+]+", "\\\\1", "\\++", "a*?", "a??", "\\d+", "(?:a)+", "[^a]", "\\z", "a{,2}", ".*"),
]


def test_envoy_refuses_the_regular_expressions_that_re2_is_said_to_refuse(tmp_path: Path) -> None:
    made = {f"a.matches(r'{regex}')": regex for regex in REGEXES}
    refused = {made[expression] for expression in refusals(list(made), tmp_path)}
    assert {regex for regex in REGEXES if re2_regex.refused(regex)} <= refused
    assert refused - {regex for regex in REGEXES if re2_regex.refused(regex)} <= {
        "a{1,2000}",
        "\\pL",
    }  # beyond the size that Envoy allows
