"""Tests of the sqlite workload."""
