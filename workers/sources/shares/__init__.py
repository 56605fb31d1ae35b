"""What the workloads over a network share: reading credentials, and walking a tree that is far away."""
