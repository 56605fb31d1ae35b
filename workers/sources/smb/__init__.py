"""The SMB workload: a share of a file server, read and written over SMB 2.1 to 3.1.1 without an agent."""
