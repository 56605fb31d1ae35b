"""Keys and ciphers: what a DEK becomes, how a passphrase wraps it, and where a worker keeps it.

Rule of the package: it knows bytes and names, never storage, vault objects or the tower.
"""
