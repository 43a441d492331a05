"""Fetches by HTTP from servers that are not trusted: within a time, a number of bytes, and a number of pieces."""
