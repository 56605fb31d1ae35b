"""One file per noun; each offers ``commands()`` or ``register(app)`` to the builder in ``main``."""
