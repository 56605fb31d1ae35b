"""Pure rules and values of the control plane.

Rule of the package: no I/O, no clock, no randomness of its own, no framework; time and chance come in as arguments.
"""
