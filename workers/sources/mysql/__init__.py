"""The mysql workload: servers of MariaDB, physically and to the second; MySQL and single databases as dumps."""
