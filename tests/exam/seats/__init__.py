"""The seats: one module per workload, each with ``seats()``, the makers by name.

Rule of the package: a maker that cannot have its server here skips by name.
"""
