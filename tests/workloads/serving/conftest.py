"""The vault of these tests."""

from tests.workloads.serving.glass import glass

__all__ = ["glass"]
