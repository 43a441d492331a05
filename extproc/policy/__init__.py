"""The pure decision: which policy, version and GPU pool a request gets, from an immutable snapshot."""
