"""Whole workloads, against the real servers."""
