"""How fast workloads other than files are, beside what their server and a compressor alone would take."""
