"""The client of the work API: one method per verb of ``shared.contracts.work`` and ``shared.contracts.collect``.

Rule of the file: it carries messages and maps refusals to error codes; it decides nothing and retries nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from shared.contracts.collect import (
    AskCondemned,
    AskDoomedPoints,
    AskUnsettled,
    Condemn,
    CondemnedPacks,
    Deleted,
    Doom,
    Doomed,
    DoomedPoints,
    Expired,
    Settled,
    UnsettledPoints,
)
from shared.contracts.work import (
    AskShards,
    Claim,
    Commit,
    Complete,
    Fence,
    Granted,
    Hello,
    Offer,
    Outcome,
    Release,
    Renew,
    Renewed,
    Shards,
    Welcome,
)
from shared.decoders import json_decoder
from shared.errors import REGISTRY, SkyharborError
from workers.session.calls import FAILURES, Caller

_Reply = TypeVar("_Reply")


class TowerClient:
    """Speaks ``/work/v1``. Safe to use from several threads.

    Every method raises ``server-unreachable`` when the tower does not answer or answers 5xx, ``stale-claim`` when the
    fence is no longer the current one, ``unauthenticated`` for a wrong worker token.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 10.0) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._calls = Caller(f"{url}/work/v1", headers, timeout=timeout, connect=5.0)

    def hello(self, message: Hello) -> Welcome:
        """Introduce this process; leases of earlier sessions of the same worker are given up by the tower."""
        return _decoded("hello", self._post("hello", message), Welcome)

    def claim(self, message: Claim) -> Granted | None:
        """Ask for work; None when the doorbell is stale or nothing waits."""
        body = self._post("claim", message)
        return _decoded("claim", body, Granted) if body else None

    def renew(self, message: Renew) -> Renewed:
        """Renew all leases of this process at once."""
        return _decoded("renew", self._post("renew", message), Renewed)

    def commit(self, fence: Fence) -> None:
        """Ask leave to seal."""
        self._post("commit", Commit(fence=fence))

    def complete(self, fence: Fence, outcome: Outcome) -> None:
        """Report the end of the attempt; may be repeated after a lost reply."""
        self._post("complete", Complete(fence=fence, outcome=outcome))

    def release(self, fence: Fence) -> None:
        """Give the unit back unfinished; no attempt is burnt."""
        self._post("release", Release(fence=fence))

    def offer(self, fence: Fence, shards: Sequence[bytes]) -> None:
        """Offer shards of a backup; may be repeated after a lost reply."""
        self._post("offer", Offer(fence=fence, shards=tuple(shards)))

    def shards(self, fence: Fence, have: Sequence[int]) -> Shards:
        """Ask what became of the shards."""
        return _decoded("shards", self._post("shards", AskShards(fence=fence, have=tuple(have))), Shards)

    def condemned(self, message: AskCondemned) -> CondemnedPacks:
        """Ask for condemned packs."""
        return _decoded("condemned", self._post("condemned", message), CondemnedPacks)

    def condemn(self, message: Condemn) -> None:
        """Give packs up and take others back."""
        self._post("condemn", message)

    def doom(self, message: Doom) -> Doomed:
        """Ask leave to delete packs."""
        return _decoded("doom", self._post("doom", message), Doomed)

    def deleted(self, message: Deleted) -> None:
        """Say that doomed packs are gone."""
        self._post("deleted", message)

    def doom_points(self, message: AskDoomedPoints) -> DoomedPoints:
        """Ask for points whose manifests must go."""
        return _decoded("doom-points", self._post("doom-points", message), DoomedPoints)

    def expired(self, message: Expired) -> None:
        """Say that manifests of doomed points are gone."""
        self._post("expired", message)

    def unsettled(self, message: AskUnsettled) -> UnsettledPoints:
        """Ask for points that may still come from somebody who was given up."""
        return _decoded("unsettled", self._post("unsettled", message), UnsettledPoints)

    def settled(self, message: Settled) -> None:
        """Say what became of such points."""
        self._post("settled", message)

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def _post(self, verb: str, message: msgspec.Struct) -> bytes:
        try:
            status, content = self._calls.post(f"/{verb}", msgspec.json.encode(message))
        except FAILURES as error:
            raise SkyharborError("server-unreachable", f"{verb}: {str(error) or type(error).__name__}") from error
        if 200 <= status < 300:
            return content
        raise _refusal(verb, status, content)


def _decoded(verb: str, body: bytes, kind: type[_Reply]) -> _Reply:
    """A 200 that is not the tower's answer (a proxy's page, another version) is no answer."""
    try:
        return json_decoder(kind).decode(body)
    except msgspec.MsgspecError as error:
        raise SkyharborError("server-unreachable", f"{verb}: the answer is not the tower's: {error}") from error


def _refusal(verb: str, status: int, content: bytes) -> SkyharborError:
    if status >= 500:
        return SkyharborError("server-unreachable", f"{verb}: HTTP {status}")
    try:
        problem = json_decoder(dict[str, object]).decode(content)
        code, detail = str(problem.get("code", "")), str(problem.get("detail", ""))
    except ValueError:
        code, detail = "", ""
    if code not in REGISTRY:
        code = "unauthenticated" if status == 401 else "bad-request"
    return SkyharborError(code, detail or f"{verb}: HTTP {status}")
