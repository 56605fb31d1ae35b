"""Break-glass: list and restore with the vault and the passphrase alone, when everything else is gone.

Rule of the package: it reads the vault and writes nothing but the restore's target; it needs no tower, no database, no
broker and no state of its own, and what it prints with ``--json`` is relied on by other programs.
"""
