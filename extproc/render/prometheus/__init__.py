"""Prometheus rules from policies: golden metrics, service level objectives, canaries, the processor itself."""
