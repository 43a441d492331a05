"""Flags that say where the inference gateway is: ``--namespace`` and ``--name``."""

from __future__ import annotations

import argparse

from linkerd_adapter.names import label


def add_gateway_flags(parser: argparse.ArgumentParser) -> None:
    """Both."""
    parser.add_argument(
        "--namespace",
        type=_name,
        metavar="NS",
        help="of the gateway, and of policies that name none (the policies' own, where they have one in common)",
    )
    parser.add_argument("--name", type=_name, default="inference-gateway", help="of the gateway (%(default)s)")


def _name(text: str) -> str:
    """What Kubernetes takes as a name."""
    if label(text) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name; use lower-case letters, digits and '-', a letter first")
    return text
