"""`modeldepot serve` that lets everybody in: what the gate costs is the difference."""

from fastapi import Request

import app.main
from app.api.gate import Gate
from app.api.keyring import Key
from app.cli import main
from app.domain.keys import Role


class _Open(Gate):
    async def admit(self, request: Request) -> Key:  # noqa: ARG002
        return Key("EXOanybody", "anybody", Role.OPERATOR, b"")


if __name__ == "__main__":
    vars(app.main)["Gate"] = _Open
    main(["serve"])
