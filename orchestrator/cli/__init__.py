"""The operator's hand: a client of the public API, and of the one-machine stack under ``--home``.

Rule of the package: whatever the tower can answer is asked of the API; nothing here opens the control database.
"""
