"""Rings a doorbell by a Celery message that holds ids and nothing else.

Rule of the file: a ring either is in the broker when ``ring`` returns, or has failed within 10 s; nothing retries
inside. The settings that matter are explicit even where they equal a default, for defaults change.
"""

from __future__ import annotations

import contextlib
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from shared.contracts.doorbell import QUEUE, TASK, broker_settings, transport_options
from shared.contracts.work import Doorbell
from shared.errors import SkyharborError

PUBLISH_SECONDS = 8.0
"""One socket's patience; with connecting it stays under the ten seconds that the port promises."""

CONNECT_SECONDS = 2.0


class CeleryBell:
    """The broker behind ``broker_url``: redis://, redis+socket://, rediss://, amqp:// or amqps://. One thread.

    With ``events`` Flower sees every doorbell.
    """

    def __init__(self, broker_url: str, *, events: bool = False) -> None:
        self._app = Celery("skyharbor", broker=broker_url, set_as_current=False)
        self._app.conf.update(_settings(broker_url, events=events))
        transport = self._app.connection_for_write()
        known: Any = (*transport.connection_errors, *transport.channel_errors)  # typed too widely by the stubs
        self._failures: tuple[type[Exception], ...] = (KombuError, OSError, *known)
        self._producer: Any = None

    def ring(self, doorbell: Doorbell) -> None:
        """Send one doorbell. ``server-unreachable`` when the broker does not take it."""
        try:
            self._app.send_task(
                TASK,
                args=[doorbell.job_id, doorbell.epoch, doorbell.unit],
                queue=QUEUE,
                ignore_result=True,
                retry=False,
                confirm_timeout=PUBLISH_SECONDS,
                producer=self._connected(),
            )
        except self._failures as error:
            self.close()  # the next ring begins on a fresh connection, whatever state this one was left in
            raise SkyharborError("server-unreachable", f"the broker does not answer: {type(error).__name__}") from error

    def close(self) -> None:
        """Let go of the connection. Idempotent; a later ring connects anew."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # A dead broker cannot be told goodbye.
            with contextlib.suppress(*self._failures):
                producer.connection.release()

    def _connected(self) -> Any:
        if self._producer is None:
            connection = self._app.connection_for_write()
            self._producer = self._app.amqp.Producer(connection, auto_declare=False)
        return self._producer


def _settings(broker_url: str, *, events: bool) -> dict[str, Any]:
    return {
        **broker_settings(broker_url),
        "task_send_sent_event": events,
        "task_publish_retry": False,
        "broker_connection_timeout": CONNECT_SECONDS,
        "broker_connection_retry": False,
        "broker_transport_options": transport_options(
            broker_url, seconds=PUBLISH_SECONDS, connect_seconds=CONNECT_SECONDS
        ),
        "enable_utc": True,
        "timezone": "UTC",
    }
