"""The object-store port, its backends and its decorators; one exam for all of them."""
