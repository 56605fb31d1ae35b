"""What a person, a worker or the clock can ask of the control plane: one file per thing, plain functions.

Rule of the package: a use case takes an open ``UnitOfWork``, decides by the domain, writes through the ports, and
commits once,
at its end. Nothing is kept when it raises: leaving the unit of work without a commit rolls it back.
"""
