"""A Grafana dashboard from policies."""
