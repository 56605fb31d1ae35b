"""Nouns that both planes use: values only, no I/O, no framework."""
