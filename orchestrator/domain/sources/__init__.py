"""What a description of a source must be like before anybody is sent to read it.

Rule of the package: one function per workload, each returning the description in its canonical form or raising
``bad-request`` with what to write instead. Whether what it names is there is not asked: it may be mounted, or started,
later.
"""
