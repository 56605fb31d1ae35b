"""A recovery point that is read where it lies: as disks by NBD and iSCSI, as a folder by FUSE.

Rule of the package: reading only, of the vault and for whoever is served; what is damaged is an error about its bytes,
never other bytes.
"""
