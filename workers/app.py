"""The bare Celery app of the data plane: transport settings and nothing of the house.

Rule of the file: a message is a doorbell. It is acknowledged on receipt, carries ids only, has no result, no
retry, no ETA and no priority: whatever the broker loses or repeats costs latency, never correctness.
"""

from __future__ import annotations

from celery import Celery

from shared.contracts.doorbell import broker_settings, is_rabbitmq, transport_options

_SECONDS, _CONNECT_SECONDS = 10.0, 5.0
_HEARTBEAT_SECONDS = 20.0
"""Of AMQP: two that do not come end a line that has fallen silent. A Redis line is asked by its own health check."""


def make_app(broker_url: str, *, events: bool = False) -> Celery:
    """Return the app for ``broker_url`` (redis+socket, redis, rediss, amqp or amqps).

    Remote control stays off: any client of the broker could otherwise order workers about. Flower sees that the worker
    lives in any case; with ``events`` it sees every task too, which costs a third of what a task costs the worker.
    """
    app = Celery("skyharbor", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_settings(broker_url),
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=not is_rabbitmq(broker_url),
        worker_soft_shutdown_timeout=0.0,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=events,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=10,
        broker_heartbeat=_HEARTBEAT_SECONDS,
        broker_transport_options=_transport(broker_url),
    )
    return app


def _transport(broker_url: str) -> dict[str, object]:
    """A worker sends nothing but events for people who watch: it must not wait for anybody to confirm them.

    On a line that has fallen silent it would wait without end, and hear no doorbell again; nor may it wait for a dead
    line's goodbye before it takes up the next one.
    """
    options = transport_options(broker_url, seconds=_SECONDS, connect_seconds=_CONNECT_SECONDS)
    return {**options, "confirm_publish": False, "read_timeout": _SECONDS} if is_rabbitmq(broker_url) else options
