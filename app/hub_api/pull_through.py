"""Has fetched what a client asks for and the depot does not keep, where the operator allows that."""

from dataclasses import dataclass, field
from uuid import uuid4

from starlette.requests import Request

from app.depot.batching import Creates
from app.domain.commands import Command
from app.domain.errors import BadRequest, Conflict
from app.domain.keys import NameLimit
from app.domain.repositories import select
from app.http.authenticator import address
from app.http.keyring import Key
from app.sealing import Sealer
from app.services.audit import Act
from app.services.creates import Create
from app.wakeup import Wakeup


@dataclass(frozen=True, slots=True)
class PullThrough:
    """`names`: the models that may be fetched so; None: none. `token`: the depot's own for the Hub, or empty."""

    names: NameLimit | None
    token: str = field(repr=False)
    creates: Creates
    wakeup: Wakeup
    sealer: Sealer
    deadline: float

    async def begin(self, request: Request, key: Key | None, name: str, revision: str) -> bool:
        """Begin to fetch a whole repository for the caller with this key. Return False if that is not allowed."""
        if self.names is None or key is None or not (self.names.permits(name) and key.may_read(name)):
            return False
        try:
            selection = select(name, revision, (), ())
        except BadRequest:
            return False
        operation_id = uuid4()
        sealed = self.sealer.seal(self.token, belongs_to=str(operation_id)) if self.token else None
        request_id = request.state.request_id
        act = Act(key.id, Command.CREATE_MODEL, address(request), request_id, key_name=key.name, resource_name=name)
        try:
            await self.creates.accept(act, Create(selection, operation_id, self.deadline, sealed, request_id))
        except Conflict:  # another client asked at the same moment
            return True
        await self.wakeup.send()
        return True
