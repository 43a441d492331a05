"""Policies as objects of Kubernetes: watched, carried out by a controller, and answered in their status."""
