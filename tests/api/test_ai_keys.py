"""The depot's keys over the API, in the shapes of the hosted one."""

from typing import Any
from uuid import UUID

import httpx2

from app.domain.keys import Role
from tests.api import contract
from tests.api.test_auth import audited, make_key
from tests.by_hand import Api
from tests.depot import KEY
from tests.processes import until


def made(api: Api, **fields: Any) -> Any:
    answer = api.ask("POST", "/ai/api-key", {"name": "an app", "scope": "public"} | fields)
    assert answer.status_code == 200, answer.text
    contract.check(contract.NEW_KEY, answer.json())
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def as_(api: Api, value: str, method: str, path: str, **given: Any) -> httpx2.Response:
    """What the holder of a key gets."""
    headers = {"Authorization": f"Bearer {value}"}
    return httpx2.request(method, f"http://127.0.0.1:{api.depot.port}/v2{path}", headers=headers, timeout=30, **given)


def test_a_key_is_made_shown_without_its_secret_and_opens_what_its_role_may(api: Api) -> None:
    reader, operator = made(api), made(api, role="operator")
    assert (reader["role"], operator["role"]) == ("reader", "operator")
    listed = api.ask("GET", "/ai/api-key").json()
    contract.check(contract.KEYS, listed)
    for key in (reader, operator):
        value, token = key.pop("value"), key.pop("hub-token")
        secret = value.partition(":")[2]
        assert as_(api, token, "GET", "/ai/model").status_code == 200
        assert token not in api.depot.logs()
        shown = api.ask("GET", f"/ai/api-key/{key['id']}")
        assert shown.json() == key
        assert key in listed["ai-api-keys"]
        assert secret not in shown.text + str(listed) + api.depot.logs()
        assert as_(api, value, "GET", "/ai/model").status_code == 200
        body = {"name": "no-owner"}
        assert as_(api, value, "POST", "/ai/model", json=body).status_code == (403 if key is reader else 400)
    # The bootstrap key is one of them.
    assert KEY in {key["key"] for key in listed["ai-api-keys"]}


def test_a_deleted_key_opens_nothing_and_is_not_shown_any_more(api: Api) -> None:
    key = made(api)
    answer = api.ask("DELETE", f"/ai/api-key/{key['id']}")
    contract.check(contract.OPERATION, answer.json())
    assert answer.json()["reference"] == {
        "id": key["id"],
        "link": f"/v2/ai/api-key/{key['id']}",
        "command": "get-ai-api-key",
    }
    assert api.ask("GET", f"/operation/{answer.json()['id']}").json() == answer.json()
    until(lambda: as_(api, key["value"], "GET", "/ai/model").status_code == 403, api.depot.logs)
    for method in ("GET", "DELETE"):
        assert api.ask(method, f"/ai/api-key/{key['id']}").status_code == 404
    assert key["id"] not in {one["id"] for one in api.ask("GET", "/ai/api-key").json()["ai-api-keys"]}


def test_the_key_that_asks_is_not_deleted(api: Api) -> None:
    (own,) = [key for key in api.ask("GET", "/ai/api-key").json()["ai-api-keys"] if key["key"] == KEY]
    answer = api.ask("DELETE", f"/ai/api-key/{own['id']}")
    assert answer.status_code == 409
    contract.check(contract.ERROR, answer.json())
    assert api.ask("GET", "/ai/model").status_code == 200


def test_a_reader_learns_nothing_of_keys(api: Api) -> None:
    value = ":".join(make_key(api, Role.READER))
    some = made(api)["id"]
    for method, path in (("GET", ""), ("GET", f"/{some}"), ("POST", ""), ("DELETE", f"/{some}")):
        answer = as_(api, value, method, f"/ai/api-key{path}")
        assert answer.status_code == 403, (method, path)
        contract.check(contract.ERROR, answer.json())


def test_a_key_of_another_scope_is_refused(api: Api) -> None:
    """It would open more than was asked for."""
    for fields, field in (({"scope": str(UUID(int=7))}, "scope"), ({"name": ""}, "name"), ({"role": "king"}, "role")):
        answer = api.ask("POST", "/ai/api-key", {"name": "an app"} | fields)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
        contract.check(contract.ERROR, answer.json())
    assert api.ask("GET", "/ai/api-key/no-uuid").status_code == 404


def test_making_and_deleting_one_are_audited(api: Api) -> None:
    key = made(api, name="of the audit")
    api.ask("DELETE", f"/ai/api-key/{key['id']}")
    rows = [row for row in audited(api, KEY) if row.other_key_id == key["key"]]
    assert [(row.action, row.outcome) for row in rows] == [
        ("create-ai-api-key", "accepted"),
        ("delete-ai-api-key", "accepted"),
    ]
    assert {row.resource_name for row in rows} == {"of the audit"}
