"""Snapshots of the file systems that an item's paths are on, for as long as they are read.

Two drivers: btrfs and LVM. ZFS is left out because no machine of ours could prove it.

Rule of the package: a snapshot has the item's id in its name or a tag, so that whoever comes later knows whose it was.
"""
