"""The tower's loops: planner, dispatcher, relay, rescuer, sweeper, sealer, and who of several towers may run them.

Rule of the package: a loop owns a rhythm and nothing else; what it does is a use case. Killed at any point, the
next one goes on.
"""
