"""Wharfie's figures beside its peers', measured in turn in one run. See `python -m benchmarks --help`."""
