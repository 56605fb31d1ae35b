"""The NFS workload: a folder of an NFS server, read and written over NFS 3 or 4.0 without an agent or a mount."""
