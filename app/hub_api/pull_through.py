"""Has fetched what a client asks for and the depot does not keep, where the operator allows that."""

from contextlib import suppress
from dataclasses import dataclass, field

from starlette.requests import Request

from app.depot.fetching import Fetching
from app.domain.commands import Command
from app.domain.errors import BadRequest, Conflict
from app.domain.keys import NameLimit
from app.domain.repositories import select
from app.http.authenticator import address
from app.http.keyring import Key
from app.services.audit import Act


@dataclass(frozen=True, slots=True)
class PullThrough:
    """`names`: the models that may be fetched so; None: none. `token`: the depot's own for the Hub, or empty."""

    names: NameLimit | None
    token: str = field(repr=False)
    fetching: Fetching

    async def begin(self, request: Request, key: Key | None, name: str, revision: str) -> bool:
        """Begin to fetch a whole repository for the caller with this key. Return False if that is not allowed."""
        if self.names is None or key is None or not (self.names.permits(name) and key.may_read(name)):
            return False
        try:
            selection = select(name, revision, (), ())
        except BadRequest:
            return False
        where, request_id = address(request), request.state.request_id
        act = Act(key.id, Command.CREATE_MODEL, where, request_id, key_name=key.name, resource_name=name)
        with suppress(Conflict):  # another client asked at the same moment
            await self.fetching.begin(act, selection, self.token)
        return True
