"""Whatever goes wrong answers in the one shape that the contract gives."""

import http.client
import json
from importlib.metadata import version

import pytest

from tests.api import contract
from tests.by_hand import Api
from tests.conftest import StartDepot
from tests.servers import PostgreSQL

_UUID = "00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize(
    "path", ["/nothing", "/ai", "/ai/models", "/ai/model/", f"/ai/model/{_UUID}/file", "/v2/ai/model", "/%00", "/a%ffb"]
)
def test_a_path_that_is_not_there_is_not_found(api: Api, path: str) -> None:
    answer = api.ask("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    contract.check(contract.ERROR, answer.json())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/ai/model"),
        ("DELETE", "/ai/model"),
        ("POST", f"/ai/model/{_UUID}"),
        ("PUT", f"/ai/model/{_UUID}"),
        ("POST", f"/ai/model/{_UUID}/files"),
        ("DELETE", f"/operation/{_UUID}"),
        ("PUT", "/ai/deployment"),
        ("POST", f"/ai/deployment/{_UUID}"),
        ("POST", "/zone"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(api: Api, method: str, path: str) -> None:
    answer = api.ask(method, path)
    assert answer.status_code == 405
    contract.check(contract.ERROR, answer.json())
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST", "PATCH", "DELETE"}


def test_both_methods_of_a_path_are_allowed(api: Api) -> None:
    allowed = api.ask("PUT", "/ai/model").headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "POST"}


def test_what_is_not_http_gets_no_html_and_harms_nobody(api: Api) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.depot.port, timeout=10)
    connection.connect()
    connection.sock.sendall(b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n")
    assert b"<html" not in connection.sock.recv(10_000).lower()
    connection.close()
    assert api.ask("GET", "/zone").status_code == 200


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_without_its_database_it_asks_to_come_back_and_then_goes_on(start_depot: StartDepot) -> None:
    with PostgreSQL() as server:
        depot = start_depot(database_url=server.migrated(), workers=0)
        server.stop()
        try:
            for method, path, body in [
                ("GET", "/ai/model", None),
                ("GET", f"/ai/model/{_UUID}", None),
                ("GET", f"/ai/model/{_UUID}/files", None),
                ("GET", f"/ai/model/{_UUID}/latest", None),
                ("GET", f"/ai/model/{_UUID}/events", None),
                ("POST", "/ai/model", {"name": "acme/model"}),
                ("DELETE", f"/ai/model/{_UUID}", None),
                ("GET", f"/operation/{_UUID}", None),
                ("GET", "/ai/deployment", None),
                ("POST", "/ai/deployment", {"name": "d", "model": {"id": _UUID}}),
                ("DELETE", f"/ai/deployment/{_UUID}", None),
                ("PATCH", f"/ai/deployment/{_UUID}", {"name": "d"}),
                ("GET", f"/ai/deployment/{_UUID}/logs", None),
                ("GET", "/ai/api-key", None),
                ("POST", "/ai/api-key", {"name": "k"}),
            ]:
                answer = depot.client.request(method, path, json=body)
                assert answer.status_code == 503, f"{method} {path}: {answer.text}"
                contract.check(contract.ERROR, answer.json())
                assert int(answer.headers["retry-after"]) > 0
            assert depot.client.get("/zone").status_code == 200
        finally:
            server.start()
        assert depot.client.get("/ai/model").json() == {"models": []}
        assert depot.create("acme/model")["state"] == "pending"
        assert "Traceback" not in depot.logs()


def test_the_document_lists_every_operation_of_the_contract_once(api: Api) -> None:
    origin = f"http://127.0.0.1:{api.depot.port}"
    document = api.ask("GET", f"{origin}/openapi.json").json()
    operations = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert sorted(operations) == sorted(
        [
            "create-model",
            "list-models",
            "get-model",
            "delete-model",
            "get-operation",
            "list-zones",
            "create-deployment",
            "list-deployments",
            "get-deployment",
            "delete-deployment",
            "update-deployment",
            "scale-deployment",
            "get-deployment-logs",
            "reveal-deployment-api-key",
            "list-ai-instance-types",
            "get-inference-engine-help",
            "get-user-org-consumption-quota",
            "list-ai-api-keys",
            "get-ai-api-key",
            "create-ai-api-key",
            "delete-ai-api-key",
            "list-model-files",
            "get-latest-commit",
            "refresh-model",
            "watch-model",
            "update-model",
            "plan-model",
            "get-hub",
            "search-hub",
        ]
    )
    assert document["info"]["version"] == version("modeldepot")
    assert document["servers"] == [{"url": f"{origin}/v2"}]
    assert not [path for path in document["paths"] if path.startswith("/v2")]
    assert "HTTPValidationError" not in json.dumps(document)
    assert '"422"' not in json.dumps(document)


def test_the_documentation_page_needs_no_other_server(api: Api) -> None:
    answer = api.ask("GET", f"http://127.0.0.1:{api.depot.port}/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "swagger" in answer.text
    assert 'src="http' not in answer.text
    assert 'href="http' not in answer.text
