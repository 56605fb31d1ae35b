"""Tests of the mysql workload against real servers of MariaDB."""
