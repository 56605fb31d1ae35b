"""What the tower is measured by: admission, the midnight herd, long lists, jobs per second, and its memory."""
