"""The control plane: decides what runs when, and keeps the catalog. It never sees plaintext, keys or passphrases."""
