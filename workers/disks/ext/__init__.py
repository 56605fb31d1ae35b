"""ext2, ext3 and ext4, read by our own code: names as bytes, attributes whole, the journal applied.

Rule of the package: reading only, by what the kernel's ``fs/ext4`` writes; nothing that a disk says is believed.
"""
