"""The engine: backup, restore and verify of one unit, free of Celery, HTTP and policy.

Rule of the package: it takes an instruction and ports, and returns an outcome. It asks ``Control`` before every step
that matters and leaves nothing half-made that a later reader could take for whole.
"""
