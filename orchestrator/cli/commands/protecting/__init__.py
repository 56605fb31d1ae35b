"""``item add``: one command per workload.

Rule of the package: a command says what to protect; how it is looked after is the same for all (``request``).
"""
