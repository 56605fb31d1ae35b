"""Celery shells and what they run: decode, run the engine, report."""
