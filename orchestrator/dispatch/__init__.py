"""The sending end of the doorbell.

Rule of the package: Celery is known here and at the worker's end, nowhere between.
"""
