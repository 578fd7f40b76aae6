"""The pages: what they show and change, what a browser may do with them, and what they weigh."""

import html
import re
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import ModelRow
from app.domain.errors import Reason
from app.services import files
from tests.by_hand import Api, run
from tests.console.conftest import Site, User
from tests.console.rows import add_models
from tests.console.test_session import PAGES

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HOSTILE = "<script>alert('x')</script>"
_RESOURCE = re.compile(r'(?:src|href)="(/console/static/[^"]+)"')
_FIRST_VIEW = 100_000
"""Bytes."""


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    return site.user()


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def failed_model(api: Api) -> str:
    operation = api.depot.create(api.name())
    api.fail(Reason.NOT_FOUND)
    model_id: str = operation["reference"]["id"]
    return model_id


def test_models_of_one_name_are_told_apart_in_lists(site: Site, operator: User) -> None:
    name = "zzz/told-apart"  # the first in one of the lists
    for tag in ("Q4_K_M", "Q8_0"):
        site.api.depot.create(name, include=["README.md", "LICENSE*", f"m-{tag}.gguf"])
        site.api.carry_out()
    for path in (f"/console?q={name}", "/console/storage?sort=-name"):
        page = operator.client.get(path).text
        assert ("m-Q8_0.gguf" in page, "m-Q8_0.gguf" in text_of(page)) == (True, False), "it is in the tooltip"
        assert {"Q4_K_M", "Q8_0"} <= set(text_of(page).split())


@pytest.mark.parametrize("path", [*PAGES, "/console/sign-in", "/console/nothing", f"/console/models/{UUID(int=7)}"])
def test_every_page_runs_no_script_or_style_but_ours_and_is_kept_nowhere(operator: User, path: str) -> None:
    answer = operator.client.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
    assert "https://" not in re.sub(r'xmlns="[^"]+"', "", answer.text)


def test_a_page_that_there_is_not_says_so_as_a_page(operator: User) -> None:
    for path in ("/console/nothing", "/console/models/no-uuid", f"/console/models/{uuid4()}"):
        answer = operator.client.get(path)
        assert answer.status_code == 404
        assert 'role="alert"' in answer.text


def test_a_model_is_added_with_the_files_that_the_form_names(site: Site, operator: User) -> None:
    name = site.api.name()
    answer = operator.send("/console/models/new", name=name, revision="v1", include="*.gguf *.json", token="hf_secret")
    model = site.api.depot.model(answer.headers["location"].rsplit("/", 1)[1])
    assert (model["name"], model["revision"], model["include"]) == (name, "v1", ["*.gguf", "*.json"])
    site.api.fail()


def test_a_refused_form_keeps_what_was_typed_but_for_the_token_and_says_which_field(operator: User) -> None:
    answer = operator.send("/console/models/new", name="no-owner", include="*.json", token="hf_planted_token")
    assert answer.status_code == 400
    assert 'value="no-owner"' in answer.text
    assert 'value="*.json"' in answer.text
    assert re.search(r'name="name"[^>]*aria-invalid', answer.text)
    assert "hf_planted_token" not in answer.text
    wrong = operator.send("/console/models/new", name="acme/model", token="hf planted")
    assert wrong.status_code == 400
    assert "hf planted" not in wrong.text


def test_the_commands_beside_the_form_follow_what_is_typed_and_are_quoted(operator: User) -> None:
    asked = {"name": "acme/it's", "revision": "v1", "include": "*.gguf", "exclude": "a b"}
    shown = operator.client.get("/console/models/commands", params=asked)
    assert shown.status_code == 200
    text = html.unescape(shown.text)
    assert """-d '{"name": "acme/it'"'"'s", "revision": "v1", "include": ["*.gguf"], "exclude": ["a", "b"]}'""" in text
    assert "modeldepot pull 'acme/it'\"'\"'s' --revision v1 --include '*.gguf' --exclude a --exclude b" in text
    assert """create_model(name="acme/it's", revision='v1', include=['*.gguf'], exclude=['a', 'b'])""" in text


def test_a_ready_model_shows_its_path_its_files_and_how_to_load_it(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    page = operator.page(f"/console/models/{model_id}")
    assert f'data-copy="{"b" * 64}"' in page
    for shown in (f"/models/{model_id}", f"vllm serve /models/{model_id}", "model.safetensors", "Download"):
        assert shown in " ".join(text_of(page).split())


def test_a_ready_model_leads_to_the_form_that_declares_a_deployment_of_it(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    (path,) = re.findall(r'id="deploy"[^>]* href="([^"]+)"', operator.page(f"/console/models/{model_id}"))
    page = operator.page(html.unescape(path))
    assert f"<b>Model</b> {name} <small>main at cccccccc" in page
    assert re.search(rf'<input type="hidden" name="model" value="{model_id}">', page)


def test_a_model_in_error_says_why_and_is_retried_under_its_id(site: Site, operator: User) -> None:
    model_id = failed_model(site.api)
    page = operator.page(f"/console/models/{model_id}")
    assert "not-found" in page
    assert "The Hub has no such repository." in page
    assert 'data-action="retry"' in page
    assert operator.send(f"/console/models/{model_id}/retry", token="hf_other").status_code == 303
    assert site.api.depot.model(model_id)["status"] == "creating"
    again = operator.send(f"/console/models/{model_id}/retry")
    assert again.status_code == 409
    assert 'role="alert"' in again.text
    site.api.carry_out()


def test_a_model_is_paused_resumed_and_fetched_first(site: Site, operator: User) -> None:
    model_id = site.api.depot.create(site.api.name())["reference"]["id"]
    address = f"/console/models/{model_id}"

    def change(action: str) -> str:
        assert operator.send(f"{address}/change", action=action).headers["location"] == address
        return operator.page(address)

    page = change("pause")
    assert "data-status-text>paused<" in page
    assert "Resume the model to go on from there." in page
    assert 'value="pause"' not in page
    assert site.api.depot.model(model_id)["paused"] is True
    paused = operator.page("/console?status=paused")
    assert re.findall(r'data-model="([^"]+)"', paused) == [model_id]
    assert 'paused <span class="count">1<' in paused
    assert model_id not in operator.page("/console?status=creating")
    page = change("resume")
    assert model_id in operator.page("/console?status=creating")
    assert model_id not in operator.page("/console?status=paused")
    assert "data-status-text>creating<" in page
    assert 'value="pause"' in page
    assert 'value="usual"' in change("first")
    assert site.api.depot.model(model_id)["priority"] == 1
    assert 'value="first"' in change("usual")
    assert operator.send(f"{address}/change", action="stop").status_code == 400
    assert site.reader().send(f"{address}/change", action="pause").status_code == 403
    site.api.carry_out()
    refused = operator.send(f"{address}/change", action="pause")
    assert refused.status_code == 409
    assert 'role="alert"' in refused.text


def test_a_model_that_is_used_is_not_deleted_and_the_page_says_by_what(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    assert operator.send("/console/deployments", name="the-chat", model=name, replicas="2").status_code == 303
    refused = operator.send(f"/console/models/{model_id}/delete", sure="yes")
    assert refused.status_code == 412
    alert = refused.text.partition('role="alert"')[2].partition("</div>")[0]
    assert "the-chat" in alert
    (held,) = [each for each in site.api.stored()[1]["deployments"] if each["name"] == "the-chat"]
    assert held["id"] in alert
    assert held["replicas"] == 2
    assert operator.send(f"/console/deployments/{held['id']}/delete", sure="yes").status_code == 303
    assert operator.send(f"/console/models/{model_id}/delete", sure="yes").headers["location"] == "/console"
    assert f'data-model="{model_id}" data-status="deleting"' in operator.page("/console")
    going = operator.page(f"/console/models/{model_id}")
    assert not any(word in going for word in ("Load it", "vllm", "llama", "Add a deployment"))
    site.api.carry_out()
    assert model_id not in operator.page("/console")


@pytest.mark.parametrize(
    "fields",
    [
        {"gpu-count": "0"},
        {"gpu-count": "two"},
        {"replicas": "0"},
        {"model": "acme/unknown"},
        {"model": str(UUID(int=7))},
        {"name": ""},
        {"name": "n" * 251},
        {"deployment-url": "u" * 1001},
    ],
)
def test_a_wrong_deployment_is_refused_with_the_form_as_it_was_and_the_field_at_fault(
    site: Site, operator: User, fields: dict[str, str]
) -> None:
    name = site.api.depot.model(site.api.ready_model())["name"]
    answer = operator.send("/console/deployments", **({"name": "kept", "model": name} | fields))
    assert answer.status_code in {400, 404}
    assert fields.get("name", "kept") in answer.text
    alert = answer.text.partition('role="alert"')[2].partition("</div>")[0]
    assert alert
    assert "GET /v2" not in alert
    (field,) = fields
    for mark in ("aria-invalid", "autofocus"):
        assert re.findall(rf'<(?:input|textarea) name="([^"]+)"[^>]*{mark}', answer.text) == [field]


def test_the_form_of_a_deployment_blames_the_name_that_is_taken_and_the_model_that_is_not_ready(
    site: Site, operator: User
) -> None:
    model_id = site.api.ready_model()
    assert operator.send("/console/deployments", name="taken", model=model_id).status_code == 303
    waiting = site.api.depot.create(site.api.name())["reference"]["id"]
    for fields, status, field in (
        ({"name": "taken", "model": model_id}, 409, "name"),
        ({"name": "free", "model": waiting}, 412, "model"),
    ):
        answer = operator.send("/console/deployments", **fields)
        assert answer.status_code == status
        assert re.findall(r'<input name="([^"]+)"[^>]*aria-invalid', answer.text) == [field]
    site.api.fail()


def test_a_delete_without_the_pages_script_is_asked_about_first(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    deployment = operator.send("/console/deployments", name="asked about", model=model_id).headers["location"]
    deployment_id = deployment.rpartition("#d-")[2]
    for path in (f"/console/deployments/{deployment_id}", f"/console/models/{model_id}"):
        answer = operator.send(f"{path}/delete")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{path}/delete")
        question = operator.page(f"{path}/delete")
        # It stays where it is on a reload, and what it sends is a yes.
        fields = dict(
            re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]+)">', question.partition("<main")[2])
        )
        assert f'action="{path}/delete"' in question
        assert operator.client.post(f"{path}/delete", data=fields).status_code == 303
    assert operator.client.get(f"/console/deployments/{deployment_id}/delete").status_code == 404
    site.api.carry_out()


def test_no_model_in_use_is_asked_about(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    assert operator.send("/console/deployments", name="holds it", model=model_id).status_code == 303
    assert "data-confirm" not in operator.page(f"/console/models/{model_id}").partition('id="rest"')[2]
    question = operator.page(f"/console/models/{model_id}/delete")
    assert "holds it" in question.partition('role="alert"')[2].partition("</div>")[0]
    assert 'data-action="delete"' not in question


def test_who_presses_enter_in_the_address_bar_after_a_refusal_is_shown_a_page(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    operator.client.follow_redirects = True
    try:
        for path in (f"models/{model_id}/retry", f"models/{model_id}/delete", "models/new", "deployments", "sign-out"):
            answer = operator.client.get(f"/console/{path}")
            assert answer.status_code == 200, path
    finally:
        operator.client.follow_redirects = False


@pytest.mark.parametrize(("number", "heading"), [(499, "499"), (500, "500"), (501, "501")])
def test_all_files_of_a_model_are_counted(site: Site, operator: User, number: int, heading: str) -> None:
    model_id = site.api.ready_model()

    async def fill(database: Database) -> None:
        async with database.begin() as connection:
            await files.record(connection, UUID(model_id), [(f"f{one:04}", 1, "d" * 64) for one in range(number)])
            await connection.execute(update(ModelRow).where(ModelRow.id == UUID(model_id)).values(files=number))

    run(site.api.database_url, fill)
    page = operator.page(f"/console/models/{model_id}")
    assert f'<h2 id="all-files">Files <small>{heading}</small></h2>' in page
    assert page.count('<td class="mono sum"') == min(number, 500)
    assert ("1 to 500 of 501 files" in page) == (number > 500)
    if number > 500:
        rest = operator.page(f"/console/models/{model_id}?page=2")
        assert re.findall(r'class="mono">(f\d+)<', rest) == ["f0500"]
        assert f'href="/console/models/{model_id}?sort=-path#all-files"' in page


def test_all_files_of_a_model_are_searched_and_sorted(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()

    async def fill(database: Database) -> None:
        async with database.begin() as connection:
            await files.record(
                connection, UUID(model_id), [(f"f{one:04}", one % 7, f"{one:064x}") for one in range(1100)]
            )

    run(site.api.database_url, fill)

    def paths(part: str, **query: str) -> list[str]:
        answer = operator.client.get(f"/console/models/{model_id}{part}", params=query)
        assert answer.status_code == 200
        return re.findall(r'class="mono">(f\d+)<', answer.text)

    assert paths("", page="3", sort="-path")[-1] == "f0000"
    assert paths("", sort="-size")[:2] == ["f0006", "f0013"]
    for part in ("", "/files"):
        assert paths(part, q="F109", sort="-path") == [f"f109{one}" for one in range(9, -1, -1)]
        assert paths(part, q="nothing") == []
        page = html.unescape(operator.page(f"/console/models/{model_id}{part}?q=f&sort=-size&page=2"))
        assert f'id="sort-path" href="/console/models/{model_id}?q=f#all-files"' in page
        assert f'id="page-next" rel="next" href="/console/models/{model_id}?q=f&sort=-size&page=3#all-files"' in page
    page = operator.page(f"/console/models/{model_id}?q=nothing")
    assert 'name="q" value="nothing"' in page
    assert "No file's name has that." in page


def test_a_model_with_many_quantizations_shows_the_best_default_and_folds_the_others(
    site: Site, operator: User
) -> None:
    model_id = site.api.ready_model()
    # More than the page lists: what loads the model is found all the same.
    paths = [f"a{one:04}.txt" for one in range(600)] + [
        "mmproj-F16.gguf",
        "m-Q2_K.gguf",
        "m-Q4_K_M.gguf",
        "m-Q8_0.gguf",
    ]

    async def fill(database: Database) -> None:
        async with database.begin() as connection:
            await files.record(connection, UUID(model_id), [(path, 1, "d" * 64) for path in paths])

    run(site.api.database_url, fill)
    page = operator.page(f"/console/models/{model_id}")
    best, _, others = page.partition("<h2>Load it</h2>")[2].partition("2 other quantizations")
    assert f"-m /models/{model_id}/m-Q4_K_M.gguf --mmproj /models/{model_id}/mmproj-F16.gguf" in best
    assert [name for name in ("m-Q8_0.gguf", "m-Q2_K.gguf") if f"-m /models/{model_id}/{name}" in others]
    assert "vllm serve" not in page


def test_names_and_messages_are_shown_and_never_run(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    assert operator.send("/console/deployments", name=HOSTILE, model=name).status_code == 303
    assert operator.send("/console/keys", name=HOSTILE, role="reader").status_code == 303
    run(site.api.database_url, lambda database: add_models(database, 1, message=HOSTILE, name=f"acme/{HOSTILE}"))
    pages = [operator.page(path) for path in (*PAGES, f"/console/models/{model_id}")]
    pages += [operator.client.get("/console", params={"q": HOSTILE, "sort": HOSTILE, "status": HOSTILE}).text]
    pages += [operator.client.get("/console/models/new", params={"name": HOSTILE}).text]
    pages += [operator.send("/console/models/new", name=HOSTILE).text]
    pages += [site.stranger().get("/console/sign-in", params={"next": f'"><{HOSTILE}'}).text]
    assert all(HOSTILE not in page for page in pages)
    assert sum(html.escape(HOSTILE) in page.replace("&#39;", "&#x27;") for page in pages) >= 6


def test_a_new_keys_secret_is_shown_once_and_opens(site: Site, operator: User) -> None:
    assert operator.send("/console/keys", name="of-a-test", role="reader", expires="30").status_code == 303
    _, key, secret, _ = re.findall(r'data-copy="([^" ]+)"', operator.page("/console/keys"))
    assert secret not in operator.page("/console/keys")
    assert key in operator.page("/console/keys")
    site.user(key, secret)
    assert operator.send(f"/console/keys/{key}/revoke").status_code == 303
    assert operator.send(f"/console/keys/{key}/revoke").status_code == 404


@pytest.mark.parametrize("fields", [{"name": ""}, {"role": "king"}, {"expires": "-1"}])
def test_a_wrong_key_is_not_made(operator: User, fields: dict[str, str]) -> None:
    answer = operator.send("/console/keys", **({"name": "of-a-test", "role": "reader"} | fields))
    assert answer.status_code == 400
    assert "data-copy" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/console", "/console/activity", "/console/keys", "/console/audit", "/console/deployments", "/console/storage"],
)
@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=99999999", "page=x", "q=%00", "q=%25", "sort=x", "status=x", "before=x"]
)
def test_an_address_that_makes_no_sense_still_shows_a_page(operator: User, path: str, query: str) -> None:
    assert operator.client.get(f"{path}?{query}").status_code == 200


def test_a_thousand_models_are_searched_sorted_and_shown_a_page_at_a_time_in_100_kb(site: Site, operator: User) -> None:
    run(site.api.database_url, lambda database: add_models(database, 1000))

    def names(**asked: str) -> list[str]:
        shown = operator.client.get("/console", params=asked).text
        return re.findall(r'data-name="([^"]+)"', shown)

    assert len(names()) == 50
    assert names(q="many-07", sort="-name") == [f"acme/many-{number:04}" for number in range(799, 749, -1)]
    assert names(q="MANY-0777") == ["acme/many-0777"]
    by_name = names(q="many-", sort="name", page="2")
    assert by_name == [f"acme/many-{number:04}" for number in range(50, 100)]
    by_size = names(q="many-", sort="-size")
    assert by_size[0] == "acme/many-0999"
    failed = names(q="many-", status="error", sort="name")
    assert failed == [f"acme/many-{number:04}" for number in range(0, 500, 10)]
    assert len(names(q="many-", sort="name", page="20")) == 50

    first = operator.client.get("/console")
    resources = [operator.client.get(path) for path in sorted(set(_RESOURCE.findall(first.text)))]
    assert len(resources) >= 5
    sizes = [int(answer.headers["content-length"]) for answer in (first, *resources)]
    assert sum(sizes) <= _FIRST_VIEW, sizes
    for answer in resources:
        assert "immutable" in answer.headers["cache-control"]
    assert operator.client.get("/console/static/../pages.py").status_code == 404
