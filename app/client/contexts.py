"""The depots that this user is signed in to: addresses and keys by name, in a file that only the user can read."""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.client.exits import NotThere, Wrong
from app.terminal import did_you_mean

LOCAL = "local"
"""Names this machine's depot, whose address and key are in its data folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """A depot's URL, without `/v2`, and the credentials for it."""

    url: str
    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contexts:
    places: Mapping[str, Place]
    current: str = LOCAL

    def named(self, name: str) -> Place:
        """Raise `NotThere` if there is none."""
        try:
            return self.places[name]
        except KeyError:
            hint = did_you_mean(name, self.places) or ":"
            raise NotThere(f"there is no context {name!r}{hint} `modeldepot contexts list` lists them") from None

    def of(self, url: str) -> Place | None:
        """Return the place at `url`, if any: the current one, or else the first."""
        found = {name: place for name, place in self.places.items() if place.url == url}
        return found.get(self.current) or next(iter(found.values()), None)


def contexts_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".config") / "modeldepot" / "contexts.json"


def in_use() -> str:
    """Return the name of the context in use; `LOCAL` also if the file can't be read."""
    with suppress(Wrong):
        return load().current
    return LOCAL


def load() -> Contexts:
    """Read the contexts; there are none without the file. Raises `Wrong`."""
    path = contexts_file()
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Wrong(
                    f"others may read the keys in {path}: do `chmod 600 {path}`, and revoke keys that were read"
                )
            told = json.load(file)
        places = {str(name): Place(**place) for name, place in told["contexts"].items()}
        return Contexts(places, told["current"])
    except FileNotFoundError:
        return Contexts({})
    except OSError as error:
        raise Wrong(f"can't read {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Wrong(f"{path} holds no contexts: remove it, and sign in again with `modeldepot login URL`") from None


def save(contexts: Contexts) -> None:
    """Write the contexts, at once and for this user only. Raises `Wrong`."""
    path = contexts_file()
    told = {"current": contexts.current, "contexts": {name: asdict(place) for name, place in contexts.places.items()}}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The mode of a temporary file is 0600 from the beginning.
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(told, file, indent=2)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise Wrong(f"can't write {path}: {error.strerror}") from None
