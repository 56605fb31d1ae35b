"""What a restore brings back: one test for each line of what we promise, on real file systems."""
