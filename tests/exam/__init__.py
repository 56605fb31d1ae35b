"""The exam that every source sits: one list of claims, one seat for each workload (and version of its server).

Rule of the package: the claims know no workload, and a seat knows no claim. What it cannot be asked is said by name.
"""
