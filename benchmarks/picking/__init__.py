"""Simulated model servers, and what becomes of the same requests by each way to pick one of them."""
