"""The public Python SDK, as its users use it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import exoscale
import httpx2
import jsonschema
import pytest
from exoscale.api.exceptions import (
    ExoscaleAPIAuthException,
    ExoscaleAPIClientException,
    ExoscaleAPIServerException,
)
from exoscale.api.v2 import Client

from tests.conftest import StartDepot
from tests.depot import KEY, SECRET, Depot
from tests.fakehub.hub import Hub

NAME = "acme/small"
FILES = {"config.json": b"{}", "model.safetensors": b"weights"}
DEPLOYMENT: dict[str, Any] = {"name": "chat", "gpu_type": "gpua5000", "gpu_count": 1, "replicas": 1}


@pytest.fixture
def depot(start_depot: StartDepot, hub: Hub) -> Depot:
    hub.add(NAME, FILES)
    return start_depot()


def client_of(depot: Depot, key: str = KEY, secret: str = SECRET) -> Client:
    return Client(key, secret, url=f"http://127.0.0.1:{depot.port}/v2")


def test_every_call_on_a_model_works(depot: Depot) -> None:
    client = client_of(depot)
    operation = client.create_model(name=NAME)
    assert (operation["state"], operation["reference"]["command"]) == ("pending", "get-model")
    client.wait(operation["id"], max_wait_time=30)
    model_id = operation["reference"]["id"]
    model = client.get_model(id=model_id)
    assert (model["name"], model["status"], model["state"]) == (NAME, "ready", "ready")
    assert model["model-size"] == sum(map(len, FILES.values()))
    assert [listed["id"] for listed in client.list_models()["models"]] == [model_id]

    deployed = client.create_deployment(model={"id": model_id}, **DEPLOYMENT)
    client.wait(deployed["id"])
    deployment_id = deployed["reference"]["id"]
    assert client.get_deployment(id=deployment_id)["model"] == {"id": model_id, "name": NAME}
    assert [listed["id"] for listed in client.list_deployments()["deployments"]] == [deployment_id]
    with pytest.raises(ExoscaleAPIClientException, match="412") as refused:
        client.delete_model(id=model_id)
    assert refused.value.response.json()["deployments"] == [deployment_id]

    client.wait(client.delete_deployment(id=deployment_id)["id"])
    client.wait(client.delete_model(id=model_id)["id"], max_wait_time=30)
    assert client.list_models() == {"models": []}
    with pytest.raises(ExoscaleAPIClientException, match="404"):
        client.get_model(id=model_id)


def test_a_deployment_is_changed_scaled_and_asked_about(depot: Depot) -> None:
    client = client_of(depot)
    created = client.create_model(name=NAME)
    client.wait(created["id"], max_wait_time=30)
    model = {"id": created["reference"]["id"]}
    made = client.create_deployment(model=model, **DEPLOYMENT, product_name="billed to nobody")
    deployment_id = made["reference"]["id"]

    client.wait(client.update_deployment(id=deployment_id, name="talk", inference_engine_parameters=["--a=1"])["id"])
    client.wait(client.scale_deployment(id=deployment_id, replicas=0)["id"])
    deployment = client.get_deployment(id=deployment_id)
    assert (deployment["name"], deployment["replicas"]) == ("talk", 0)
    assert deployment["inference-engine-parameters"] == ["--a=1"]
    assert client.list_deployments(visibility="private")["deployments"] == [deployment]
    assert client.list_deployments(visibility="public") == {"deployments": []}
    assert client.get_deployment_logs(id=deployment_id, tail=10) == {"logs": []}
    with pytest.raises(ExoscaleAPIClientException, match="404"):
        client.reveal_deployment_api_key(id=deployment_id)
    with pytest.raises(ExoscaleAPIClientException, match="409"):
        client.create_deployment(model=model, **DEPLOYMENT | {"name": "talk"})
    assert client.list_ai_instance_types() == {"instance-types": []}
    assert client.get_inference_engine_help(version="0.28.0") == {"parameters": []}
    assert client.get_user_org_consumption_quota() == {"quota-uom-per-minute": None}


def test_keys_are_made_used_and_deleted(depot: Depot) -> None:
    client = client_of(depot)
    made = client.create_ai_api_key(name="an app", scope="public")
    key, _, secret = made["value"].partition(":")
    shown = client.get_ai_api_key(id=made["id"])
    assert shown == {name: value for name, value in made.items() if name not in {"value", "hub-token"}}
    assert shown in client.list_ai_api_keys()["ai-api-keys"]
    reader = client_of(depot, key, secret)
    assert reader.list_models() == {"models": []}
    with pytest.raises(ExoscaleAPIAuthException, match="403"):
        reader.list_ai_api_keys()
    client.wait(client.delete_ai_api_key(id=made["id"])["id"])
    with pytest.raises(ExoscaleAPIClientException, match="404"):
        client.get_ai_api_key(id=made["id"])


def test_every_answer_is_one_that_the_clients_own_description_allows(depot: Depot) -> None:
    """But for a model's size while nobody knows it: the reference says that it may be null, its types that it may not."""
    client = client_of(depot)
    created = client.create_model(name=NAME)
    client.wait(created["id"], max_wait_time=30)
    model_id = created["reference"]["id"]
    least = depot.client.post("/ai/deployment", json={"name": "least", "model": {"id": model_id}}).json()
    deployment_id = least["reference"]["id"]
    key_id = client.create_ai_api_key(name="an app", scope="public")["id"]
    asked = [
        ("/operation/{id}", least["id"]),
        ("/ai/model", ""),
        ("/ai/model/{id}", model_id),
        ("/ai/deployment", ""),
        ("/ai/deployment/{id}", deployment_id),
        ("/ai/deployment/{id}/logs", deployment_id),
        ("/ai/instance-type", ""),
        ("/ai/help/inference-engine-parameters", ""),
        ("/ai/quota", ""),
        ("/ai/api-key", ""),
        ("/ai/api-key/{id}", key_id),
        ("/zone", ""),
    ]
    document = json.loads((Path(exoscale.__file__).parent / "openapi.json").read_text())
    for path, identity in asked:
        answer = depot.client.get(path.format(id=identity))
        said = document["paths"][path]["get"]["responses"][str(answer.status_code)]["content"]["application/json"]
        shape = said["schema"] | {"components": document["components"]}
        jsonschema.validate(answer.json(), shape, format_checker=jsonschema.FormatChecker())


def test_wait_raises_with_the_reason_of_a_failure(depot: Depot) -> None:
    client = client_of(depot)
    operation = client.create_model(name="nobody/nothing")
    with pytest.raises(ExoscaleAPIServerException, match=r"failure, (not-found|forbidden)"):
        client.wait(operation["id"], max_wait_time=30)


def test_what_is_not_there_is_a_client_error(depot: Depot) -> None:
    client, nothing = client_of(depot), str(uuid4())
    calls = (client.get_model, client.delete_model, client.get_deployment, client.delete_deployment)
    for call in (*calls, client.get_operation):
        with pytest.raises(ExoscaleAPIClientException, match="404"):
            call(id=nothing)


def test_a_wrong_secret_is_an_authentication_error(depot: Depot) -> None:
    for client in (client_of(depot, secret="a-wrong-secret-of-23"), client_of(depot, key="EXOnobody")):
        with pytest.raises(ExoscaleAPIAuthException, match="403"):
            client.list_models()
        with pytest.raises(ExoscaleAPIAuthException, match="403"):
            client.create_model(name=NAME)
    assert client_of(depot).list_models() == {"models": []}


def test_the_zone_is_found_without_credentials_and_leads_back_here(depot: Depot) -> None:
    (zone,) = client_of(depot, secret="a-wrong-secret-of-23").list_zones()["zones"]
    assert zone["api-endpoint"] == f"http://127.0.0.1:{depot.port}/v2"
    assert Client(KEY, SECRET, url=zone["api-endpoint"]).list_models() == {"models": []}


def test_what_a_client_that_reads_the_newer_keys_needs_is_there(depot: Depot) -> None:
    answer = depot.client.get(f"/ai/model/{uuid4()}")
    body = answer.json()
    assert body["error"] == body["detail"]
    assert (body["title"], body["status"], answer.headers["content-type"]) == ("Not Found", 404, "application/json")


class _Proxy(BaseHTTPRequestHandler):
    """Passes on what is asked for under `/depot`, with or without that."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    strips = True

    def _pass_on(self) -> None:
        path = self.path.removeprefix("/depot") if self.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name in ("Authorization", "Content-Type")}
        answer = httpx2.request(self.command, self.upstream + path, content=body, headers=headers, timeout=30)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["content-type"])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815  # as the library calls them

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[True, False], ids=["stripped", "kept"])
def proxied(request: pytest.FixtureRequest, start_depot: StartDepot, hub: Hub) -> Iterator[str]:
    """The address of a depot under a path of a proxy, which takes that path away or leaves it."""
    hub.add(NAME, FILES)
    handler = type("Handler", (_Proxy,), {"strips": request.param})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    address = f"http://127.0.0.1:{server.server_address[1]}/depot"
    depot = start_depot(public_url=address)
    handler.upstream = f"http://127.0.0.1:{depot.port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_signatures_fit_behind_a_proxy_with_a_path(proxied: str) -> None:
    client = Client(KEY, SECRET, url=f"{proxied}/v2")
    assert client.list_zones()["zones"][0]["api-endpoint"] == f"{proxied}/v2"
    operation = client.create_model(name=NAME)
    client.wait(operation["id"], max_wait_time=30)
    client.wait(client.delete_model(id=operation["reference"]["id"])["id"], max_wait_time=30)
    assert httpx2.get(f"{proxied}/docs").status_code == 200
    assert httpx2.get(f"{proxied}/static-offline-docs/swagger-ui.css").status_code == 200
