"""Wire messages between the planes. Versioned by their URL (``/work/v1``) and by the doorbell's ``v``."""
