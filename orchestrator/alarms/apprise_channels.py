"""Channels through apprise: mail, chats, pagers, webhooks, by one URL each.

Rule of the file: apprise and what it stands on write URLs into their logs and exceptions, so their loggers are closed
and of an exception only its type is told. A redirect is a failure: a POST that is sent on as a GET arrives empty, and
would count as delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from orchestrator.domain.alarm_text import Message, Tone
from shared.errors import SkyharborError

if TYPE_CHECKING:
    import apprise

_log = structlog.get_logger(__name__)

_SECONDS = 20.0
_TALKERS = ("apprise", "urllib3", "requests", "oauthlib", "requests_oauthlib")


class AppriseChannel:
    """One URL. ``name`` is its place among the URLs and its scheme, such as ``1:mailtos``."""

    def __init__(self, notifier: apprise.Apprise, *, name: str) -> None:
        self.name = name
        self._notifier = notifier

    def send(self, message: Message) -> bool:
        """Hand a message over; False when that failed, or failed for one of several receivers of the URL."""
        import apprise

        tones = {Tone.BAD: apprise.NotifyType.FAILURE, Tone.GOOD: apprise.NotifyType.SUCCESS}
        try:
            return bool(
                self._notifier.notify(
                    title=message.title,
                    body=message.body,
                    notify_type=tones[message.tone],
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
        except Exception as error:  # noqa: BLE001 - a plugin of any kind; its words may hold the URL
            _log.error("alarm_channel_broke", channel=self.name, error=type(error).__name__)
            return False


def open_channels(urls: Sequence[str]) -> list[AppriseChannel]:
    """Return a channel for every URL, connecting to nothing. ``bad-request`` says the place of a URL that is wrong."""
    if not urls:
        return []  # apprise is half a second and many megabytes
    import apprise

    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 10)
    channels = []
    for number, url in enumerate(urls, start=1):
        asset = apprise.AppriseAsset(
            app_id="Skyharbor",
            app_desc="Skyharbor alarms",
            storage_mode="memory",
            service_timeout=_SECONDS,
            http_redirects=False,
        )
        notifier = apprise.Apprise(asset=asset)
        if not _accepts(notifier, url, number):
            raise SkyharborError(
                "bad-request", f"SKYHARBOR_ALARM_URLS: URL number {number} is none that apprise understands"
            )
        channels.append(AppriseChannel(notifier, name=f"{number}:{url.partition('://')[0].lower()}"))
    return channels


def _accepts(notifier: apprise.Apprise, url: str, number: int) -> bool:
    try:
        return "://" in url and bool(notifier.add(url))
    except Exception as error:  # noqa: BLE001 - what a plugin thinks of a URL may hold the URL
        _log.error("alarm_url_broke", number=number, error=type(error).__name__)
        return False
