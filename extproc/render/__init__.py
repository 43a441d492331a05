"""Policies rendered for what carries the traffic: one module per target. Floor 4, imports 0 to 3."""
