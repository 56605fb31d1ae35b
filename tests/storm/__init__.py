"""The storm: a real stack under faults drawn from a seed, judged by a checker that shares no code with it.

Rule of the package: ``checker`` reads tables, vaults and answers on its own; the rest breaks things and asks for work.
"""
