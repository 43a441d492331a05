"""Policies rendered for what carries the traffic: one module per target."""
