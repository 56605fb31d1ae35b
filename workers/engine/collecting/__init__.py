"""The steps of a collection (decision 12), one per module; ``workers.engine.collect`` puts them in order."""
