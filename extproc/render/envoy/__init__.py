"""Envoy's configuration from policies: bootstrap, listeners, routes, clusters, filters."""
