"""The one-machine stack: a private PostgreSQL, a broker and our own processes as one process tree under one folder.

Rule of the package: everything it starts dies with it, nothing outside the home folder is changed, and a home that was
left behind by ``kill -9`` starts again. It knows how programs are started, not what they do.
"""
