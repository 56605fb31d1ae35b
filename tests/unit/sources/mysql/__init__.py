"""Tests of the mysql workload."""
