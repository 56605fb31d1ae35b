"""Undoing what a dead worker has left behind: the worker's end of the line, and the process that waits at the other.

Rule of the package: the worker tells first and makes afterwards; whoever undoes must be able to do it twice.
"""
