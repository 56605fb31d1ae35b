"""The sqlite workload: databases of SQLite, each as its last committed transaction left it."""
