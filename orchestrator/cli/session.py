"""What one invocation knows: its home, its server, its streams. Commands receive it and nothing else.

Rule of the file: how a server is found is decided here once: --server or the environment, then the named or default
context, then the stack that runs under the home.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import typer

from orchestrator.cli.client import Tower
from orchestrator.cli.contexts import Context, find_context
from orchestrator.cli.output import Output
from orchestrator.cli.ports import Endpoint, PointLister, Stack
from shared.clock import Clock
from shared.errors import SkyharborError


@dataclass(slots=True)
class Session:
    """Filled by the program's entry, completed by the global options, read by the commands."""

    stack: Stack
    lister: PointLister
    out: Output
    clock: Clock
    config_file: str
    home: str
    token_file: str | None = None
    server: str | None = None
    token: str | None = None
    context: str | None = None
    _tower: Tower | None = field(default=None)

    @classmethod
    def of(cls, ctx: typer.Context) -> Session:
        """Return the session of a command."""
        session = ctx.obj
        if not isinstance(session, cls):
            raise TypeError("the command line was built without a session")
        return session

    def tower(self) -> Tower:
        """Return the connection to the API, the same one every time; ``server-unreachable`` when none is known."""
        if self._tower is None:
            endpoint = self.endpoint()
            if endpoint is None:
                raise SkyharborError("server-unreachable", f"no stack runs under {self.home} and no --server was given")
            self._tower = Tower(url=endpoint.url, token=endpoint.token or None, clock=self.clock)
        return self._tower

    def endpoint(self) -> Endpoint | None:
        """Return the server and token to use, None when there is no server to be found."""
        remote = self._remote()
        if remote is not None:
            return Endpoint(url=remote.server, token=self.token or remote.token() or self._home_token(remote.server))
        local = self.stack.endpoint(self.home)
        if local is None or self.token is None:
            return local
        return Endpoint(url=local.url, token=self.token)

    def is_local(self) -> bool:
        """Whether the server is this home's own stack, so that its keyring is the worker's keyring."""
        remote = self._remote()
        return remote is None or self._is_of_home(remote.server)

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        if self._tower is not None:
            self._tower.close()

    def _remote(self) -> Context | None:
        if self.server is not None:
            return Context(server=self.server, token_file=self.token_file)
        return find_context(self.config_file, self.context)

    def _home_token(self, server: str) -> str:
        """The home's token belongs to the home's stack: it is sent to no other server."""
        local = self.stack.endpoint(self.home) if self._is_of_home(server) else None
        return local.token if local is not None else ""

    def _is_of_home(self, server: str) -> bool:
        try:
            local = self.stack.endpoint(self.home)
        except SkyharborError:  # whoever names a server need not have a home, and may have a folder that is none
            return False
        return local is not None and local.url.rstrip("/") == server.rstrip("/")
