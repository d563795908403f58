"""Profiles and knowledge that servers share through the record, each with a home of its own."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.evidence.threshold import read_threshold
from reason_iad.server.mirror import Mirror
from reason_iad.store.store import Store

RIVETS = """\
name: Rivet plate
normal: "The rivets sit flush."
"""


@pytest.fixture
def machines(shared_url, tmp_path):
    """Two mirrors of one record, and their homes."""
    made = []
    for number in range(2):
        store = Store.open(shared_url, tmp_path / "evidence")
        home = tmp_path / f"home-{number}"
        home.mkdir()
        made.append((Mirror(store, home), home, store))
    yield made
    for _, _, store in made:
        store.close()


def write_profile(home, version: int, text: str = "bank") -> None:
    folder = home / "profiles" / "screw"
    (folder / "versions" / f"{version:04d}.bank").mkdir(parents=True)
    (folder / "versions" / f"{version:04d}.bank" / "bank.safetensors").write_text(f"{text} {version}")
    (folder / "profile.json").write_text(f'{{"version": {version}}}')


def contents(home) -> dict[str, bytes]:
    files = [path for path in home.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def test_what_is_learned_on_one_machine_is_there_on_the_other(machines):
    (first, here, _), (second, there, store) = machines
    write_profile(here, 1)
    assert first.sync() == ()
    assert second.sync() == ("profiles/screw",)
    assert contents(there) == contents(here)
    write_profile(there, 2)  # and back
    (there / "profiles" / "screw" / "versions" / "0001.bank" / "bank.safetensors").unlink()
    assert second.sync() == ()
    assert first.sync() == ("profiles/screw",)
    assert contents(here) == contents(there)
    assert (first.sync(), second.sync()) == ((), ())
    assert store.prune_files(grace=0) == (
        2,
        20,
    )  # profile.json and bank of version 1, what nobody names any more; the rest stays
    assert not (there / "set-aside").exists()


def test_where_both_changed_the_record_holds_and_the_other_is_set_aside(machines):
    (first, here, _), (second, there, _) = machines
    write_profile(here, 1)
    first.sync()
    second.sync()
    write_profile(here, 2, "from here")
    write_profile(there, 2, "from there")
    first.sync()
    assert second.sync() == ("profiles/screw",)
    path = "versions/0002.bank/bank.safetensors"
    assert (there / "profiles" / "screw" / path).read_text() == "from here 2"
    (aside,) = (there / "set-aside").iterdir()
    assert (aside / path).read_text() == "from there 2"


def test_knowledge_goes_along_and_what_is_made_from_it_stays(machines):
    (first, here, _), (second, there, _) = machines
    (here / "knowledge").mkdir()
    (here / "knowledge" / "rivet_plate.yaml").write_text(RIVETS)
    (here / "knowledge" / "index.sqlite").write_bytes(b"made here")
    first.sync()
    assert second.sync() == ("knowledge",)
    assert (there / "knowledge" / "rivet_plate.yaml").read_text() == RIVETS
    assert not (there / "knowledge" / "index.sqlite").exists()
    (there / "knowledge" / "rivet_plate.yaml").unlink()
    (there / "knowledge" / "other.yaml").write_text(RIVETS.replace("Rivet", "Other"))
    second.sync()
    assert first.sync() == ("knowledge",)
    assert not (here / "knowledge" / "rivet_plate.yaml").exists()


def test_a_profile_that_one_server_learned_serves_at_the_other(serve, shared_url, tmp_path, monkeypatch, picture):
    """Two servers with a home each; the profile's rate travels, too."""
    from test_several_servers import ready
    from until import until

    homes = [tmp_path / f"home-{number}" for number in range(2)]
    clients = []
    for number, home in enumerate(homes):
        monkeypatch.setenv("REASON_IAD_HOME", str(home))
        clients.append(
            serve("small_inspectors:load_miniature", database=shared_url, port=8470 + number, lease_seconds=2.0,
                  mirror=True)
        )  # fmt: skip
        until(lambda one=clients[-1]: ready(one), 120)
    images = [("images", (f"good_{n}.png", picture(seed=n), "image/png")) for n in range(3)]
    monkeypatch.setenv("REASON_IAD_HOME", str(homes[0]))
    learned = clients[0].post("/v1/profiles", data={"category": "screw"}, files=images)
    assert learned.status_code == 201, learned.text
    until(lambda: (homes[1] / "profiles" / "screw" / "profile.json").is_file(), 20)
    from reason_iad.evidence.profile import CategoryProfile

    profiles = [CategoryProfile.load(home / "profiles" / "screw") for home in homes]
    assert [profile.version for profile in profiles] == [1, 1]
    assert [one.sha256 for one in profiles[0].members] == [one.sha256 for one in profiles[1].members]
    assert np.array_equal(*(profile.bank.normal_scores for profile in profiles))
    clients[0].put("/v1/profiles/screw/threshold", json={"max_overkill": 0.07})
    until(lambda: read_threshold(homes[1] / "profiles" / "screw").current is not None, 20)
    assert read_threshold(homes[1] / "profiles" / "screw").current.max_overkill == 0.07
