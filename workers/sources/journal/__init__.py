"""Where anything has changed on this machine's file systems, so that a scan need not look elsewhere.

A process of its own (``python -m workers.sources.journal``) holds fanotify marks on whole file systems and notes the
directories in which anything happened. At a backup the journal is asked what happened since the mark that the reference
point carries in its state; directories in which, and below which, nothing did are offered to the engine as they are in
the reference. Everything else is scanned as always, so the journal saves looks and never decides what is in a point.

What fanotify does not tell, and what covers it:

- Writes through a shared mapping are told when the mapping ends. Those that are there now are looked up in ``/proc`` at
  every backup (``mapped``), which takes a worker that sees all processes; those of a process that a security module
  hides are found when everything is scanned. Files behind loop devices are looked up as well.
- ``chattr`` and a changed access time are told by nobody: every ``SCAN_EVERY`` points everything is scanned.
- Other machines write to network file systems: only ext2 to ext4, XFS and btrfs are trusted (``mount_table``).
- A file with names elsewhere may be changed by these: the inode is noted, not only the directory of the name
  (``record``), and the engine looks at it again under every name that it has in the reference.

Any gap means a scan of everything: the journal was not there all the time, the kernel's queue overflowed, mounts or the
item's description changed, the file system was unmounted meanwhile, too much changed to note.

Rule of the package: in doubt, scan.
"""
