"""The vault format: what lies in the store, byte for byte, and how it is written and read.

Rule of the package: ``docs/format/vault-v1.md`` is the law; every decoder treats its input as hostile and raises
``object-damaged`` or returns exactly what was written; nothing here knows a workload, a job or a tower.
"""
