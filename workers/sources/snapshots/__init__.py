"""Snapshots of the file systems that an item's paths are on, for as long as they are read.

One driver: btrfs. LVM and ZFS are left out because no machine of ours could prove them.

Rule of the package: a snapshot has the item's id in its name, so that whoever comes later knows whose it was.
"""
