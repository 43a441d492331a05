"""Envoy's ext_proc messages as plain values: events that Envoy sends, actions that answer them, and their bytes."""
