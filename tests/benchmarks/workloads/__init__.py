"""Measurements of single workloads, each a program of its own."""
