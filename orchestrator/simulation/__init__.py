"""The fleet simulator: the real planner and dispatcher against a virtual clock, modelled workers and modelled faults.

Rule of the package: it decides nothing that the tower decides. Rules come from ``use_cases`` and ``domain``; what is
here is memory in place of the database, and a model of what happens outside the tower.
"""
