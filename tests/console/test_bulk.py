"""Many models at once: what is done to those that it suits, what is said of the others, and what a toast says."""

import html
import re

import pytest

from app.db.session import Database
from app.domain.errors import Reason
from app.domain.keys import Role
from tests import by_hand
from tests.api.test_auth import audited, make_key
from tests.console.conftest import Site, User
from tests.depot import KEY


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    return site.user()


def failed(site: Site) -> str:
    model_id: str = site.api.depot.create(site.api.name())["reference"]["id"]
    site.api.fail(Reason.NOT_FOUND)
    return model_id


def ticked(*model_ids: str) -> dict[str, str]:
    return {f"pick-{model_id}": "yes" for model_id in model_ids}


def toast(page: str) -> str:
    found = re.search(r'id="toast"[^>]*><p>(.*?)</p>', page, re.DOTALL)
    return html.unescape(found[1]) if found else ""


def test_each_action_is_for_the_models_that_it_suits_and_says_what_became_of_them(site: Site, operator: User) -> None:
    ready, held, error = site.api.ready_model(), site.api.ready_model(), failed(site)
    waiting = site.api.depot.create(site.api.name())["reference"]["id"]
    body = {"name": "holds-it", "model": {"id": held}}
    assert site.api.ask("POST", "/ai/deployment", body).status_code == 200
    everything = ticked(ready, held, error, waiting)

    def done(action: str, **more: str) -> str:
        answer = operator.send("/console/models/bulk", action=action, **everything, **more)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console")
        return toast(operator.page("/console"))

    for action, paused in (("pause", True), ("resume", False)):
        assert done(action) == f"1 model is {action}d. 3 models were not in a state for that."
        assert site.api.depot.model(waiting)["paused"] is paused
    assert done("cancel", sure="yes") == "1 model is cancelled. 3 models were not in a state for that."
    assert site.api.ask("GET", f"/ai/model/{waiting}").status_code == 404
    assert done("retry") == "1 model is tried again. 2 models were not in a state for that."
    assert site.api.depot.model(error)["status"] == "creating"
    site.api.carry_out()
    said = done("delete", sure="yes")
    assert said == (
        "2 models are deleted. 1 model refused: Deployments use this model. Delete them first, then delete the model."
    )
    assert toast(operator.page("/console")) == ""
    assert site.api.ask("GET", f"/ai/model/{held}").json()["status"] == "ready"
    for _ in range(2):
        site.api.carry_out()
    acts = [(row.action, row.outcome) for row in audited(site.api, KEY)]
    assert acts[-3:].count(("delete-model", "accepted")) == 2
    assert ("delete-model", "412 Precondition Failed") in acts[-3:]


def test_what_takes_something_away_is_asked_about_first(site: Site, operator: User) -> None:
    model_id, before = site.api.ready_model(), site.api.stored()
    address = "/console?status=ready&page=2"
    question = operator.send("/console/models/bulk", action="delete", back=address, **ticked(model_id))
    assert question.status_code == 200
    assert "Shall this model be deleted?" in question.text
    assert site.api.stored() == before
    hidden = re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)">', question.text.partition("<main")[2])
    fields = {name: html.unescape(value) for name, value in hidden}
    answer = operator.client.post("/console/models/bulk", data=fields | {"action": "delete"})
    assert (answer.status_code, answer.headers["location"]) == (303, address)
    site.api.carry_out()
    assert site.api.ask("GET", f"/ai/model/{model_id}").status_code == 404
    assert operator.client.get("/console/models/bulk").headers["location"] == "/console"


def test_the_question_names_the_bytes_that_are_freed_and_the_models_that_stay(site: Site, operator: User) -> None:
    held, partial = site.api.ready_model(), site.api.depot.create(site.api.name())["reference"]["id"]

    async def fail_halfway(database: Database) -> None:
        claimed = await by_hand.claim(database)
        assert claimed is not None
        await by_hand.arrive(database, claimed, 60)
        await by_hand.give_up(database, claimed)

    by_hand.run(site.api.database_url, fail_halfway)
    body = {"name": "keeps-it", "model": {"id": held}}
    deployment = site.api.ask("POST", "/ai/deployment", body).json()["reference"]["id"]
    question = operator.send("/console/models/bulk", action="delete", **ticked(held, partial)).text
    assert "Shall these 2 models be deleted?" in question
    assert "is removed, which frees 60 B." in question
    assert "1 model stays, used by deployments: delete these first." in question
    only_held = operator.send("/console/models/bulk", action="delete", **ticked(held)).text
    assert "frees" not in only_held
    assert 'data-action="delete"' not in only_held
    site.api.ask("DELETE", f"/ai/deployment/{deployment}")
    operator.send("/console/models/bulk", action="delete", sure="yes", **ticked(held, partial))
    for _ in range(2):
        site.api.carry_out()


def test_deployments_that_are_ticked_are_deleted_together_once_it_is_sure(site: Site, operator: User) -> None:
    models = [site.api.ready_model() for _ in range(3)]
    names = [str(site.api.depot.model(one)["name"]) for one in models]
    deployments = []
    for name, model_id in zip(names, models, strict=True):
        body = {"name": f"of-{name}", "model": {"id": model_id}}
        deployments.append(site.api.ask("POST", "/ai/deployment", body).json()["reference"]["id"])
    back = "/console/deployments?q=of-acme"
    assert f'name="pick-{deployments[0]}"' in operator.page(back)
    question = operator.send("/console/deployments/bulk", action="delete", back=back, **ticked(*deployments[:2]))
    assert "Shall these 2 deployments be deleted?" in question.text
    assert site.api.ask("GET", f"/ai/deployment/{deployments[0]}").status_code == 200
    limited = site.user(*make_key(site.api, Role.OPERATOR, models=[names[0]]))
    done = limited.send("/console/deployments/bulk", action="delete", sure="yes", **ticked(*deployments))
    assert done.headers["location"] == "/console/deployments"
    assert toast(limited.page("/console/deployments")) == "1 deployment is deleted."
    assert site.reader().send("/console/deployments/bulk", sure="yes", **ticked(*deployments)).status_code == 403
    done = operator.send("/console/deployments/bulk", sure="yes", back=back, **ticked(*deployments, "nonsense"))
    assert done.headers["location"] == back
    assert toast(operator.page(back)) == "2 deployments are deleted."
    acts = [(row.action, str(row.resource_id), row.outcome) for row in audited(site.api, KEY)]
    assert set(acts[-2:]) == {("delete-deployment", one, "accepted") for one in deployments[1:]}
    assert operator.client.get("/console/deployments/bulk").headers["location"] == "/console/deployments"


def test_keys_that_are_ticked_are_revoked_together_but_not_ones_own(site: Site, operator: User) -> None:
    made = [make_key(site.api, name=f"of-bulk-{number}") for number in range(2)]
    (first, secret), (second, _) = made
    page = operator.page("/console/keys?q=OF-BULK&status=usable")
    assert re.findall(r'<tr data-key="([^"]+)"', page) == [second, first]
    assert f'name="pick-{first}"' in page
    assert f'name="pick-{KEY}"' not in operator.page(f"/console/keys?q={KEY}")
    assert "No key is like that." in operator.page("/console/keys?q=of-bulk-nobody")
    question = operator.send("/console/keys/bulk", action="revoke", **ticked(first, second))
    assert "Shall these 2 keys be revoked?" in question.text
    assert site.user(first, secret).client.get("/console").status_code == 200
    assert site.reader().send("/console/keys/bulk", sure="yes", **ticked(first)).status_code == 403
    done = operator.send("/console/keys/bulk", sure="yes", **ticked(first, second, KEY, "EXOnobody"))
    assert done.headers["location"] == "/console/keys"
    assert toast(operator.page("/console/keys")).startswith("2 keys are revoked. 1 key refused: ")
    acts = [(row.action, row.other_key_id, row.outcome) for row in audited(site.api, KEY)]
    assert set(acts[-3:]) == {
        ("revoke-key", first, "accepted"),
        ("revoke-key", second, "accepted"),
        ("revoke-key", KEY, "409 Conflict"),
    }
    assert operator.client.get("/console/keys/bulk").headers["location"] == "/console/keys"


@pytest.mark.parametrize("back", ["https://evil.example", "//evil.example", "/consolex", "/v2/ai/model"])
def test_nobody_is_led_elsewhere(operator: User, back: str) -> None:
    answer = operator.send("/console/models/bulk", action="retry", back=back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert toast(operator.page("/console")) == "No model was selected."


@pytest.mark.parametrize("fields", [{}, {"action": "eat"}, {"action": "delete", "pick-nonsense": "yes", "sure": "yes"}])
def test_what_makes_no_sense_changes_nothing(site: Site, operator: User, fields: dict[str, str]) -> None:
    before = site.api.stored()
    answer = operator.send("/console/models/bulk", **fields)
    assert answer.status_code == (303 if "sure" in fields else 400)
    assert site.api.stored() == before


def test_a_reader_and_a_limited_key_change_no_more_than_they_may(site: Site) -> None:
    ours, theirs = site.api.ready_model(), site.api.ready_model()
    name = str(site.api.depot.model(ours)["name"])
    assert site.reader().send("/console/models/bulk", action="delete", sure="yes", **ticked(ours)).status_code == 403
    assert 'form="bulk"' not in site.reader().page("/console")
    limited = site.user(*make_key(site.api, Role.OPERATOR, models=[name]))
    assert limited.send("/console/models/bulk", action="delete", sure="yes", **ticked(ours, theirs)).status_code == 303
    assert toast(limited.page("/console")) == "1 model is deleted."
    site.api.carry_out()
    assert site.api.ask("GET", f"/ai/model/{theirs}").json()["status"] == "ready"


def test_a_toast_is_for_one_session_and_shown_once(site: Site, operator: User) -> None:
    answer = operator.send("/console/deployments", name="<b>toasted</b>", model=site.api.ready_model())
    cookie = answer.headers["set-cookie"]
    name, _, value = cookie.partition(";")[0].partition("=")
    assert "toasted" not in cookie
    other = site.user()
    other.client.cookies.set(name, value)
    assert 'id="toast"' not in other.page("/console")
    # What htmx asks for has no place for it, and leaves it for the page.
    assert 'id="toast"' not in operator.client.get("/console/activity/now", headers={"HX-Request": "true"}).text
    assert toast(operator.page("/console")) == "<b>toasted</b> is added."
    assert 'id="toast"' not in operator.page("/console")
