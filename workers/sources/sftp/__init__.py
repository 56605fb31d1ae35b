"""The SFTP workload: a folder of an SSH server, read and written without an agent."""
