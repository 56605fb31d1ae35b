"""How the files of an item are held: commands around the reading, snapshots, and the journal of what has changed.

Rule of the package: it decides in which order these things happen; each of them is its own package.
"""
