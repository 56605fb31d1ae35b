"""The crew of processes: a unit's reading and writing of files on several cores.

A worker starts one *chief*, a small process that has imported everything and opened nothing. For each unit that needs
them it forks *hands*, which end with the unit. Worker and hand talk over a private socket pair; the data itself goes
from the source to the vault inside of one hand.

Why processes: small files are Python and system calls, which threads of one process only do in turn. Why forked from a
chief: a worker has threads and open stores, which do not survive a fork; starting Python anew for each unit costs a
quarter of a second, a fork a few milliseconds and next to no memory.

Rule of the package: a hand knows one unit, holds nothing that anybody else needs, and may be killed at any time.
"""
