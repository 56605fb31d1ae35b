"""HTTP in, use case, HTTP out: the public API ``/api/v1`` and the work API ``/work/v1``.

Rule of the package: nothing is decided here. Routes are plain functions; what a person sends and what goes out is
Pydantic; every failure leaves as a problem document with a code of the error registry.
"""
