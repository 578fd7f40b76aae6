"""`modeldepot serve` that lets everybody in: what the gate costs is the difference."""

from fastapi import Request

import app.main
from app.cli.main import main
from app.domain.keys import Role
from app.http.authenticator import Authenticator
from app.http.keyring import Key


class _Open(Authenticator):
    async def admit(self, request: Request) -> Key:  # noqa: ARG002
        return Key("EXOanybody", "anybody", Role.OPERATOR, b"")


if __name__ == "__main__":
    vars(app.main)["Gate"] = _Open
    main(["serve"])
