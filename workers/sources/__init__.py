"""The source adapters: one module family per workload, each behind the engine's ``Source`` port.

Rule of the package: an adapter reads; it never decides what a backup is and never writes to what it protects.
"""
