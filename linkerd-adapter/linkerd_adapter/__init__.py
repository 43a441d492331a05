"""Linkerd manifests from the same policy files."""
