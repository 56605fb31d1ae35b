"""The doorbell as both of its ends set it up: its queue, its task, and the broker's part of Celery's settings.

Rule of the file: plain values, no Celery. Both ends declare the queue, so they must say the same about it; on RabbitMQ
it is a quorum queue, and a declaration that differs is refused by the server.
"""

from __future__ import annotations

QUEUE = "skyharbor.units"
"""Where doorbells for site workers arrive."""

TASK = "skyharbor.unit"
"""The one task of the data plane: come and claim unit ``(job_id, epoch, unit)``."""


def is_rabbitmq(broker_url: str) -> bool:
    """Tell whether the broker speaks AMQP; every other that we take is a Redis or Valkey."""
    return broker_url.startswith(("amqp://", "amqps://"))


def broker_settings(broker_url: str) -> dict[str, object]:
    """Return Celery's settings that both ends share. No result, no ETA, no late acknowledgement, JSON only."""
    settings: dict[str, object] = {
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "result_backend": None,
        "task_acks_late": False,
        "task_default_queue": QUEUE,
        "task_queues": None,
    }
    if is_rabbitmq(broker_url):
        settings |= {
            "task_default_queue_type": "quorum",
            "worker_detect_quorum_queues": True,  # a quorum queue refuses a prefetch that counts for a whole channel
            # Celery declares 28 queues for ETAs beside every quorum queue. We have no ETA, so they stay empty: as
            # classic ones they cost nothing, as quorum queues each would be a cluster of its own.
            "broker_native_delayed_delivery_queue_type": "classic",
        }
    return settings


def transport_options(broker_url: str, *, seconds: float, connect_seconds: float) -> dict[str, object]:
    """Return how long a socket may be silent, and on RabbitMQ that a publication counts once the server confirms it.

    Without them a publication on a dead connection would wait for ever.
    """
    if is_rabbitmq(broker_url):
        return {"confirm_publish": True, "write_timeout": seconds, "connect_timeout": connect_seconds}
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": connect_seconds,
        "socket_keepalive": True,
        "health_check_interval": 20,
    }
