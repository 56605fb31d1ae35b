"""Refuses a broker that would silently drop what it was given.

Rule of the file: asked once, at the start of a process; a broker that does not answer now is not judged.
"""

from __future__ import annotations

import redis
import structlog

from shared.contracts.doorbell import is_rabbitmq
from shared.errors import SkyharborError

_log = structlog.get_logger(__name__)

_SECONDS = 5.0
_SAFE = "noeviction"


def refuse_evicting_broker(url: str) -> None:
    """Raise ``broker-unsafe`` when the Redis or Valkey at ``url`` evicts keys under memory pressure.

    An eviction takes a queue or its binding away unsaid, where a full broker that refuses is noticed at once. RabbitMQ
    evicts nothing and is not asked. ``broker-unsafe`` too for a password that it does not take: waiting cures neither.
    """
    if is_rabbitmq(url):
        return
    try:
        with redis.Redis.from_url(
            _plain(url), socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, decode_responses=True
        ) as server:
            policy = server.info("memory").get("maxmemory_policy")
    except redis.AuthenticationError as error:
        raise SkyharborError(
            "broker-unsafe",
            f"it refuses the credentials: {error}",
            hint="Correct the user and the password of SKYHARBOR_BROKER_URL, or SKYHARBOR_BROKER_PASSWORD_FILE.",
        ) from error
    except (redis.RedisError, OSError) as error:
        _log.warning("broker-not-checked", reason=type(error).__name__)
        return
    if policy not in (None, _SAFE):
        raise SkyharborError("broker-unsafe", f"its maxmemory-policy is {policy}, and must be {_SAFE}")


def _plain(url: str) -> str:
    """Say in the words of the client library what Celery understands."""
    return (
        url.replace("redis+socket://", "unix://", 1)
        .replace("virtual_host=", "db=")
        .replace("ssl_cert_reqs=CERT_", "ssl_cert_reqs=")
    )
