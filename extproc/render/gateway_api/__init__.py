"""Policies rendered for gateways that follow the Gateway API and call an ext_proc service."""
