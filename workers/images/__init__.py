"""A regular file of a point, read at any place: what disks, mounts and readers of file systems stand on.

Rule of the package: bytes that are handed out are those of the point; memory is bounded, whatever is read.
"""
