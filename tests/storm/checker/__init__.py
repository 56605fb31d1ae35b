"""The separate checker of the invariants I1 to I11: one file per group of them.

    lives.py     I1  every accepted job and every nominal fire ends in exactly one terminal state
                 I5  one fire per nominal time, one job per fire
    catalog.py   I2  at most one sealed point per job; catalog and vault agree
    leaves.py    I2  no point is sealed without leave of the tower
    slots.py     I3  slots held never exceed capacity, ``in_use`` is the sum of the holds, nothing is held when idle
                 I2  one active backup per item at a time
    fences.py    I4  a stale fence changes nothing
    collecting.py I7 what is held, not doomed or still in somebody's use loses no data; what is doomed goes in order
    restores.py  I6  every sealed point restores identical to its oracle copy
    borders.py   I8  a wrong token gets nothing
    waiting.py   I9  every waiting job says why it waits
    chain.py     I10 the audit chain is unbroken and keeps every line that was ever seen in it
    canaries.py  I11 secrets and plaintext are nowhere but where they belong

Rule of the package: nothing of ``orchestrator``, ``workers`` or ``shared`` is imported. Its SQL, its hash rule and its
words for states are written from the documents; vaults are read by ``tools/read_vault.py``, which was written from the
text of the format. No violation means that all is well.
"""
