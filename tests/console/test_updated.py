"""A model and its update, which have one name: which is which, and what is done to which."""

import re
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.session import Database
from app.db.tables import ModelRow
from tests.by_hand import run
from tests.console.conftest import Site, User


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    return site.user()


def updated(site: Site) -> tuple[str, str, str]:
    """The name of a model and its update, and the ids of both."""
    name, newer = site.api.name(), "d" * 40
    old = site.api.depot.create(name)["reference"]["id"]
    site.api.carry_out()
    new = site.api.depot.create(name, revision=newer)["reference"]["id"]
    site.api.carry_out()

    async def follow(database: Database, model_id: UUID) -> None:
        async with database.begin() as connection:
            moved = update(ModelRow).where(ModelRow.id == model_id).values(follows="main", commit=newer, latest=newer)
            await connection.execute(moved)
            await connection.execute(update(ModelRow).where(ModelRow.id == UUID(old)).values(latest=newer))

    run(site.api.database_url, partial(follow, model_id=UUID(new)))
    return name, old, new


def test_the_form_of_a_deployment_holds_the_model_whose_page_led_to_it(site: Site, operator: User) -> None:
    name, old, new = updated(site)
    for model_id, commit in ((old, "cccccccc"), (new, "dddddddd")):
        (path,) = re.findall(r'id="deploy"[^>]* href="([^"]+)"', operator.page(f"/console/models/{model_id}"))
        page = operator.page(path)
        assert f"<b>Model</b> {name} <small>main at {commit}" in page
        (held,) = re.findall(r'name="model" value="([^"]*)"', page)
        assert operator.send("/console/deployments", name=f"of-{model_id}", model=held).status_code == 303
        deployments = site.api.ask("GET", f"/ai/deployment?model={model_id}").json()["deployments"]
        assert [each["name"] for each in deployments] == [f"of-{model_id}"]
    assert f"<b>Model</b> {name} <small>main at cccccccc" in operator.send("/console/deployments", model=old).text


def test_models_of_one_name_are_offered_by_their_ids(site: Site, operator: User) -> None:
    name, old, new = updated(site)
    page = operator.page("/console/deployments")
    assert f'<option value="{name}">' not in page
    for model_id, commit in ((old, "cccccccc"), (new, "dddddddd")):
        assert f'<option value="{model_id}">{name}, main at {commit}</option>' in page


def test_a_model_and_its_update_say_what_they_are_and_lead_to_each_other(site: Site, operator: User) -> None:
    name, old, new = updated(site)
    page = operator.page(f"/console/models/{new}")
    assert f"<title>{name}, update of main · Model Depot</title>" in page
    told = page.partition('id="relatives"')[2].partition("</p>")[0]
    assert "Update of <b>main</b>" in told
    assert re.findall(r'href="/console/models/([^"]+)"', told) == [old]
    assert "What is older can be deleted" in told
    page = operator.page(f"/console/models/{old}")
    assert f"<title>{name} · Model Depot</title>" in page
    assert "relatives" not in page, "what tells that main has moved tells of the update, too"
    assert f'id="heir" href="/console/models/{new}"' in page
    run(site.api.database_url, partial(_move_on, name=name))
    told = operator.page(f"/console/models/{old}").partition('id="relatives"')[2].partition("</p>")[0]
    assert re.findall(r'href="/console/models/([^"]+)"', told) == [new]
    assert "This one can be deleted" in told


async def _move_on(database: Database, name: str) -> None:
    """The branch is at a commit that no model is of."""
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).where(ModelRow.name == name).values(latest="e" * 40))


def test_other_files_of_the_branch_are_no_relatives(site: Site, operator: User) -> None:
    name, _, new = updated(site)
    part = site.api.depot.create(name, include=["config.json"])["reference"]["id"]
    site.api.carry_out()
    assert "relatives" not in operator.page(f"/console/models/{part}")
    assert part not in operator.page(f"/console/models/{new}")


def test_who_cancels_a_download_is_told_so(site: Site, operator: User) -> None:
    model_id = site.api.depot.create(site.api.name())["reference"]["id"]
    name = site.api.depot.model(model_id)["name"]
    assert 'data-yes="Stop and remove" data-no="Keep it"' in operator.page(f"/console/models/{model_id}")
    operator.send(f"/console/models/{model_id}/delete", sure="yes")
    page = operator.page("/console")
    assert f"The download of {name} is cancelled, and what arrived is removed." in page
    ready = site.api.ready_model()
    operator.send(f"/console/models/{ready}/delete", sure="yes")
    assert f"{site.api.depot.model(ready)['name']} is deleted." in operator.page("/console")
    site.api.carry_out()
