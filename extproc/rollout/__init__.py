"""Progressive delivery: what is measured of each version, verdicts of guards on it, and the steps they lead to.

Pure: measurements and times are arguments (docs/decisions/0019-rollouts.md).
"""
