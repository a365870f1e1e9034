"""Metrics and protocols of the R-VOS benchmarks, in numpy."""
