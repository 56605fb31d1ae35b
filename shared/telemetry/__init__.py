"""How both planes tell what happens: structured log lines.

Rule of the package: static event names and fields; ids, never objects; secrets never reach a line.
"""
