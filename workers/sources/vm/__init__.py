"""Virtual machines: images of those that are off, the block layer of those that run, and what is made of a point."""
