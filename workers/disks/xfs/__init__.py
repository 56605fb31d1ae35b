"""XFS, versions 4 and 5, read by our own code: names as bytes, attributes whole, devices and large values too.

Rule of the package: reading only, by what the kernel's ``fs/xfs`` writes; nothing that a disk says is believed.
"""
