"""HTTP client of a depot's API; its error messages say what to do."""

import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast

import httpx2

from app.client.contexts import Place
from app.client.exits import CannotDo, Failed, InTheWay, NoDepot, NotAllowed, NotThere, Wrong

Json = dict[str, Any]
"""An object of the API."""
_CONNECT, _ANSWER = 5.0, 30.0
"""Seconds."""
_QUIET = 10.0
"""Seconds without data after which a stream is reopened."""
_REFUSED: Mapping[int, type[CannotDo]] = MappingProxyType(
    {400: Wrong, 404: NotThere, 405: Wrong, 413: Wrong, 415: Wrong, 429: NoDepot}
)


class Depot:
    """Connections to one depot; a context manager. Its methods raise `CannotDo`: `Failed` where the Hub refuses."""

    def __init__(self, place: Place, patience: float = _ANSWER) -> None:
        self.url = place.url
        self.key_id = place.key_id
        self._client = httpx2.Client(
            base_url=f"{place.url}/v2",
            headers={
                "Authorization": f"Bearer {place.key_id}:{place.secret}",
                "User-Agent": f"modeldepot/{version('modeldepot')}",
            },
            timeout=httpx2.Timeout(patience, connect=min(_CONNECT, patience)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def models(self, **only: object) -> list[Json]:
        """List all, or only those with a `name` or `status`; at most `limit`."""
        return cast("list[Json]", self._ask("GET", "/ai/model", only=only)["models"])

    def model(self, model_id: str) -> Json:
        return self._ask("GET", f"/ai/model/{model_id}")

    def files(self, model_id: str) -> list[Json]:
        return cast("list[Json]", self._ask("GET", f"/ai/model/{model_id}/files")["files"])

    def latest(self, model_id: str) -> Json:
        """Return its revision's commit on the Hub. Raises `InTheWay` if not told, `NoDepot` if it can't be asked."""
        return self._ask("GET", f"/ai/model/{model_id}/latest")

    def refresh_model(self, model_id: str, token: str | None) -> Json:
        """Return the operation that fetches its branch's newest commit. Raises `InTheWay` if there is nothing newer."""
        return self._ask("POST", f"/ai/model/{model_id}/refresh", {"huggingface-token": token} if token else {})

    def create_model(self, body: Json) -> Json:
        """Return its operation. Raises `InTheWay` if the same selection exists already."""
        return self._ask("POST", "/ai/model", body)

    def plan(self, body: Json) -> Json:
        """Return what a create with this body would fetch. Raises `NotThere`, `NotAllowed`, `Wrong`, `NoDepot`."""
        return self._ask("POST", "/ai/model/plan", body)

    def hub(self) -> str:
        """Return the address of the Hub that it fetches from."""
        return str(self._ask("GET", "/ai/hub")["address"])

    def search(self, words: str, limit: int) -> list[Json]:
        """Return the Hub's models by the words in their names."""
        return cast("list[Json]", self._ask("GET", "/ai/hub/search", only={"q": words, "limit": limit})["models"])

    def update_model(self, model_id: str, body: Json) -> Json:
        """Change what `body` names; return the model. Raises `InTheWay` if nothing fetches it that could be paused."""
        return self._ask("PATCH", f"/ai/model/{model_id}", body)

    def delete_model(self, model_id: str) -> Json:
        """Return its operation. Raises `InTheWay` while deployments use it."""
        return self._ask("DELETE", f"/ai/model/{model_id}")

    def operation(self, operation_id: str) -> Json:
        return self._ask("GET", f"/operation/{operation_id}")

    def deployments(self, **only: object) -> list[Json]:
        """List all, or only those with a `name` or `model`; at most `limit`."""
        return cast("list[Json]", self._ask("GET", "/ai/deployment", only=only)["deployments"])

    def deployment(self, deployment_id: str) -> Json:
        return self._ask("GET", f"/ai/deployment/{deployment_id}")

    def create_deployment(self, body: Json) -> Json:
        return self._ask("POST", "/ai/deployment", body)

    def delete_deployment(self, deployment_id: str) -> Json:
        return self._ask("DELETE", f"/ai/deployment/{deployment_id}")

    def watch_model(self, model_id: str) -> Iterator[Json]:
        """Yield the model at each change, until no operation works on it.

        Raises `NoDepot` also when the stream breaks off before its end, or sends nothing for ten seconds.
        """
        patience = httpx2.Timeout(_CONNECT, read=_QUIET)
        try:
            with self._client.sse(f"/ai/model/{model_id}/events", timeout=patience) as events:
                if events.response.status_code != HTTPStatus.OK:
                    events.response.read()
                    self._judge(events.response)
                for event in events:
                    if event.event == "end":
                        return
                    yield cast("Json", event.json())
        except httpx2.TransportError as error:
            raise self._explained(error) from None
        raise NoDepot(f"{self.url} broke off")

    def _ask(self, method: str, path: str, body: Json | None = None, only: Mapping[str, object] | None = None) -> Json:
        params = {key: str(value) for key, value in (only or {}).items()}
        try:
            answer = self._client.request(method, path, json=body, params=params)
        except httpx2.TransportError as error:
            raise self._explained(error) from None
        return self._judge(answer)

    def _judge(self, answer: httpx2.Response) -> Json:
        """Return its object, or raise its error."""
        said, status = _object(answer), answer.status_code
        if answer.is_success and said:
            return said
        message = str(said.get("error", "")) if "title" in said else ""
        if message and "reason" in said:
            raise Failed(said["reason"], message)
        if status in {401, 403}:
            raise NotAllowed(f"{message or answer.reason_phrase} (asked with the key {self.key_id} at {self.url})")
        if status >= 500:
            raise NoDepot(message or f"{self.url} answers {status} {answer.reason_phrase}: try again in a while")
        if answer.is_redirect:
            raise Wrong(f"{self.url} says that it is at {answer.headers.get('Location')}: set DEPOT_URL to where it is")
        if not message:
            raise Wrong(f"what answers at {self.url} ({status}) is no Model Depot: check DEPOT_URL")
        if status in {409, 412}:
            raise InTheWay(message)
        raise _REFUSED.get(status, CannotDo)(message)

    def _explained(self, error: httpx2.TransportError) -> CannotDo:
        """Return the error to raise, with advice."""
        cause = _of_tls(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoDepot(
                f"the certificate of {self.url} is not trusted: {cause.verify_message}. If an authority of your own "
                "made it, name its certificate's file in SSL_CERT_FILE"
            )
        if cause is not None:
            return NoDepot(
                f"{self.url} does not speak TLS ({cause.reason}): if it is without, say http:// in DEPOT_URL"
            )
        if isinstance(error, httpx2.ProxyError):
            return NoDepot(f"the proxy refuses the way to {self.url}: {error}. NO_PROXY names what needs none")
        if isinstance(error, httpx2.TimeoutException):
            return NoDepot(
                f"{self.url} doesn't answer in time: is it up, and is the address right (DEPOT_URL, contexts)?"
            )
        return NoDepot(
            f"no depot answers at {self.url}: {error}. Is it up (`modeldepot up`), and is the address right (DEPOT_URL, contexts)?"
        )


def _object(answer: httpx2.Response) -> Json:
    """Return {} for anything but a JSON object."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _of_tls(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS library's error that caused it, if any."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
