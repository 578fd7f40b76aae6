"""`modeldepot pause`, `resume` and `prioritise`, as people run them."""

import json

from tests.cli.shell import Shell
from tests.processes import until


def test_models_are_paused_prioritised_and_resumed(shell: Shell) -> None:
    names = [shell.repository(24 << 20) for _ in range(2)]
    made = [shell.depot.create(name) for name in names]
    ids = [operation["reference"]["id"] for operation in made]
    until(lambda: all(shell.depot.model(model_id)["downloaded"] for model_id in ids), shell.depot.logs)
    how = "".join(f"{name}: paused; to go on: modeldepot resume {name}\n" for name in names)
    assert shell.run("pause", *names).stderr == how
    assert f"paused; to go on: modeldepot resume {names[0]}\n" in shell.printed("show", names[0])
    waited = shell.quick("wait", names[0], ids[1], "--timeout", "0.5")
    assert (waited.exit_code, f"modeldepot resume {names[0]}\n" in waited.stderr) == (7, True)
    assert "Error: it is not done after 0.5 seconds" in waited.stderr
    lines = [line for line in shell.done("ls").splitlines() if any(name in line for name in names)]
    assert all("paused" in line for line in lines)
    assert shell.done("ls", "-q", "--status", "paused").split() == ids
    assert shell.done("ls", "-q", "--status", "downloading") == ""
    assert f"modeldepot resume {names[0]}" in shell.run("pull", names[0], "--detach").stderr
    settings = {key: value for key, value in shell.depot.environment.items() if key.startswith("DEPOT_")}
    pending = shell.done("operations", **settings).splitlines()
    assert sum("paused" in line and any(name in line for name in names) for line in pending) == 2

    (model,) = json.loads(shell.done("prioritise", names[1], "--priority", "3", "--json"))["models"]
    assert (model["id"], model["priority"], model["paused"]) == (ids[1], 3, True)
    shell.hub.rate = None
    assert ", priority 3" in shell.run("resume", *ids).stderr
    for operation in made:
        assert shell.depot.wait(operation["id"])["state"] == "success", shell.depot.logs()


def test_what_can_not_be_paused_says_why_and_a_wrong_name_does_not_keep_the_others(shell: Shell) -> None:
    name = shell.ready()
    refused = shell.run("pause", name)
    assert refused.returncode == 6
    assert f"Nothing fetches {name}: " in refused.stderr
    told = shell.run("prioritise", name)
    assert (told.returncode, told.stderr) == (0, f"{name}: ready; there is nothing to fetch\n")
    assert f"{name}: ready" in shell.run("resume", name).stderr
    missing = shell.quick("pull", "acme/not-there-to-deploy")
    not_ready = shell.quick("deployments", "add", "x", "acme/not-there-to-deploy")
    assert (missing.exit_code, not_ready.exit_code) == (10, 6)
    assert "Error: acme/not-there-to-deploy has the status error: " in not_ready.stderr
    assert shell.run("prioritise", name, "acme/nowhere").returncode == 5
    assert shell.depot.model(shell.id_of(name))["priority"] == 1
