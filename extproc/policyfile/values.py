"""Readers of the values in a policy file: names, models, labels, headers and other words.

A reader takes a ``Field`` and returns the value, or notes a problem and returns None.
"""

from __future__ import annotations

import re

from extproc.headers import ROUTING
from extproc.policyfile.fields import Field
from extproc.yamldoc import Scalar, quoted

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")
MAX_MODEL_LENGTH = 256
"""Characters of a model name or pattern."""


def name(field: Field) -> str | None:
    """A name that can be a header value and a label value."""
    return field.text_matching(_NAME, "1 to 63 letters, digits, '-', '_' or '.', a letter or digit first and last")


def namespace(field: Field) -> str | None:
    """A Kubernetes namespace."""
    return field.text_matching(_NAMESPACE, "1 to 63 lower-case letters, digits or '-', as Kubernetes has it")


def label(field: Field) -> str | None:
    """The value of a Kubernetes label; may be empty."""
    if isinstance(field.node, Scalar) and not field.node.text and field.node.tag == "str":
        return ""
    return name(field)


def label_key(text: str, field: Field) -> str | None:
    """The key of a Kubernetes label."""
    if _LABEL_KEY.fullmatch(text):
        return text
    field.error(f"{quoted(text)} is not the name of a label", "give it as Kubernetes has it: app, or example.com/app")
    return None


def labels(field: Field) -> tuple[tuple[str, str], ...]:
    """Labels of Kubernetes, by which objects are selected."""
    pairs = [(label_key(text, key), label(value)) for text, key, value in field.entries()]
    return tuple((key, value) for key, value in pairs if key is not None and value is not None)


def object_name(field: Field) -> str | None:
    """The name of a Kubernetes object: a DNS subdomain (RFC 1123)."""
    return field.text_matching(_OBJECT, "1 to 253 lower-case letters, digits, '-' or '.', as Kubernetes has it")


def _printable(field: Field, expected: str, max_length: int) -> str | None:
    text = field.text(expected)
    if text is None:
        return None
    if not text.isprintable() or text != text.strip() or len(text) > max_length:
        field.error(
            f"{quoted(text)} is not allowed",
            f"give {expected} of at most {max_length} printable characters, no space around them",
        )
        return None
    return text


def model_pattern(field: Field) -> str | None:
    """A model's name, or a glob of which only ``*`` is special."""
    text = _printable(field, "a model's name or a pattern", MAX_MODEL_LENGTH)
    if text and re.search(r"\?|\[.*\]", text):
        field.warn(f"only * is special in a pattern: {quoted(text)} is taken as it stands", "use * instead of ? and []")
    return text


def model_name(field: Field) -> str | None:
    """A model's name to send upstream."""
    text = _printable(field, "a model's name", MAX_MODEL_LENGTH)
    if text and "*" in text:
        field.error(f"{quoted(text)} is a pattern", "give the one name that the model server knows")
        return None
    return text


def gpu_word(field: Field) -> str | None:
    """A product or architecture of GPUs: any scalar, since 8.0 without quotes is a number in YAML."""
    text = field.scalar("a product, family or compute capability of GPUs")
    if text and (not text.isprintable() or text != text.strip() or len(text) > 63):
        field.error(f"{quoted(text)} is not allowed", "give at most 63 printable characters: a100, hopper, 8.0+")
        return None
    return text


def locality(field: Field) -> str | None:
    """A region, ``region/zone`` or ``region/zone/subzone``."""
    return _printable(field, "a region, region/zone or region/zone/subzone", 200)


def header_name(field: Field) -> str | None:
    """The name of a request header in lower case; not one that the processor sets."""
    text = field.text_matching(_TOKEN, "the name of a header")
    return None if text is None else client_header(text, field)


def response_header(field: Field) -> str | None:
    """The name of a response header, in lower case."""
    text = field.text_matching(_TOKEN, "the name of a header")
    return None if text is None else text.lower()


def client_header(text: str, field: Field) -> str | None:
    """``text`` in lower case, where clients may send a header of that name."""
    if not _TOKEN.fullmatch(text):
        field.error(f"{quoted(text)} is not the name of a header", "use letters, digits and '-'")
        return None
    if text.lower() in ROUTING:
        remedy = "use a header of your own" + ("; for version pins there is allowPin" if "version" in text else "")
        field.error(f"{text.lower()} is set by the processor and never taken from a client", remedy)
        return None
    if "_" in text:
        message = f"the rendered Envoy drops {text.lower()}, as it does every header with an underscore"
        field.warn(message, f"have clients send {text.lower().replace('_', '-')}")
    return text.lower()


def header_value(field: Field) -> bytes | None:
    """The value of a header in bytes."""
    text = field.text("the header's value", empty=True)
    if text is None:
        return None
    if not text.isprintable() or text != text.strip():
        field.error(f"no header has the value {quoted(text)}", "use printable characters, no space around them")
        return None
    return text.encode()


def header_prefix(field: Field) -> str | None:
    """What stands before a key in a header's value, the space included."""
    text = field.text("a text such as 'Bearer '", empty=True)
    if text and not (text.isascii() and text.isprintable() and len(text) <= 64):
        field.error(f"{quoted(text)} is not allowed", "give at most 64 printable ASCII characters: 'Bearer '")
        return None
    return text


def cookie_name(field: Field) -> str | None:
    """The name of a cookie (RFC 6265)."""
    return field.text_matching(_TOKEN, "the name of a cookie")


def pointer(field: Field) -> tuple[str, ...] | None:
    """A JSON Pointer (RFC 6901) as its tokens."""
    text = field.text("a JSON Pointer such as /user")
    if text is None:
        return None
    if not text.startswith("/") or re.search(r"~(?![01])", text):
        field.error(f"{quoted(text)} is not a JSON Pointer", "write /user or /metadata/user; ~1 for a / and ~0 for a ~")
        return None
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def path_prefix(field: Field) -> str | None:
    """A prefix that a gateway puts before an API's path."""
    text = field.text("a path such as /team-a")
    if text is None or (_PREFIX.fullmatch(text) and not re.search(r"/\.\.?(/|$)", text)):
        return text
    remedy = "write it as it comes in a request: /team-a"
    if text.endswith("/"):
        remedy = "leave out the / at its end" if text != "/" else "leave it out: an API's path needs no prefix"
    elif not text.startswith("/"):
        remedy = "begin it with a /"
    elif "{" in text or "*" in text:
        remedy = "write it out: a prefix has no variables"
    field.error(f"{quoted(text)} is not a path's beginning", remedy)
    return None


def file_path(field: Field) -> str | None:
    """The absolute path of a file on the machine of the proxy."""
    text = _printable(field, "the path of a file", 1024)
    if text and not text.startswith("/"):
        field.error(f"{quoted(text)} is not an absolute path", "begin it with a /: it is read on the proxy's machine")
        return None
    return text


def metric_name(field: Field) -> str | None:
    """The name of a Prometheus metric."""
    return field.text_matching(_METRIC, "a name for Prometheus: letters, digits, '_' and ':', no digit first")
