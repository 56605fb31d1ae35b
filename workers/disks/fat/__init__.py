"""FAT12, FAT16, FAT32 and exFAT, read by our own code.

Rule of the package: reading only; a chain of clusters is followed as far as there can be clusters, never round and
round.
"""
