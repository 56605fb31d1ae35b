"""The collector's verbs (decision 12, ``shared.contracts.collect``).

Rule of the package: each verb is one transaction, fenced by the collector's unit, and may be repeated after a lost
reply. The worker lists, reads and deletes; what may be deleted is decided here.
"""
