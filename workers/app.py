"""The bare Celery app of the data plane: transport settings and nothing of the house.

Rule of the file: a message is a doorbell. It is acknowledged on receipt, carries ids only, has no result, no
retry, no ETA and no priority: whatever the broker loses or repeats costs latency, never correctness.
"""

from __future__ import annotations

from celery import Celery

QUEUE = "skyharbor.units"
"""Where doorbells for site workers arrive."""

UNIT_TASK = "skyharbor.unit"
"""The one task of the data plane: come and claim unit ``(job_id, epoch, unit)``."""


def make_app(broker_url: str) -> Celery:
    """Return the app for ``broker_url`` (redis+socket, redis or amqp).

    Remote control stays off: any client of the broker could otherwise order workers about. Events stay on, for Flower.
    """
    app = Celery("skyharbor", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        task_queues=None,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=broker_url.startswith("redis"),
        worker_soft_shutdown_timeout=0.0,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=10,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 20,
        },
    )
    return app
