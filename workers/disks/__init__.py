"""Files out of the disks of a point: browsed and restored straight from the vault, without mounting and without root.

A disk is a file of the point (``disk0.raw``). Its bytes are fetched from the vault as they are needed (``point_file``);
what they mean, partitions, volumes and file systems, is read by a process of its own without any rights
(``child``), because a disk is written by whoever owns the guest. What that process answers is checked like any other
stranger's word (``parser``).

Rule of the package: nothing that is not in the vault is ever opened, nothing but a restore's target is ever written.
"""
