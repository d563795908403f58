"""The rate that people set for a profile: kept beside it, named on reports, taken back step by step."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from reason_iad.errors import EvidenceError
from reason_iad.evidence.profile_store import find_profile, profile_folder
from reason_iad.evidence.threshold import Threshold, read_threshold, set_threshold, take_back


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    made = profile_folder("Blue plate")
    made.mkdir(parents=True)
    (made / "profile.json").write_text("{}")
    return made


def test_changes_are_kept_with_who_and_when_and_taken_back_in_their_order(folder):
    assert read_threshold(folder).current is None
    set_threshold("blue plate", 0.05, "ann", "too many stopped")
    after = set_threshold("Blue-Plate", 0.01, "bob")
    assert (after.current.max_overkill, after.current.who) == (0.01, "bob")
    assert take_back("blue plate", "ann").current.max_overkill == 0.05
    assert set_threshold("blue plate", 0.03, "ann").current.max_overkill == 0.03
    assert take_back("blue plate", "ann").current.max_overkill == 0.05
    last = take_back("blue plate", "ann", "as before")
    assert last.current is None
    assert [choice.max_overkill for choice in last.history] == [0.05, 0.01, None, 0.03, None, None]
    assert read_threshold(folder) == last
    with pytest.raises(EvidenceError, match="none to take back"):
        take_back("blue plate", "ann")


def test_it_travels_with_the_folder(folder, tmp_path):
    set_threshold("blue plate", 0.05, "ann")
    shutil.copytree(folder, tmp_path / "profiles" / "red_plate")
    assert read_threshold(find_profile("red plate")).current.max_overkill == 0.05


def test_two_who_set_at_once_both_stay_in_the_history(folder):
    threads = [threading.Thread(target=set_threshold, args=("blue plate", 0.01 * n, f"{n}")) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(choice.who for choice in read_threshold(folder).history) == [f"{n}" for n in range(1, 9)]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_without_a_meaning_are_refused(folder, rate):
    with pytest.raises(EvidenceError, match="between 0 and 1"):
        set_threshold("blue plate", rate, "ann")
    assert read_threshold(folder) == Threshold()


def test_a_damaged_file_and_a_missing_profile_are_named(folder):
    (folder / "threshold.json").write_text('[{"rate": 1}]')
    with pytest.raises(EvidenceError, match=r"threshold\.json cannot be read"):
        read_threshold(folder)
    with pytest.raises(EvidenceError, match="no profile of 'green plate'"):
        set_threshold("green plate", 0.02, "ann")


def test_the_command_sets_shows_the_record_and_takes_back(folder, tmp_path, capsys):
    from made_report import make_report

    from reason_iad.cli.app import main
    from reason_iad.store.store import Store
    from reason_iad.types import InspectionRequest

    store = Store.open(f"sqlite:///{tmp_path}/data/record.db", tmp_path / "data" / "evidence")
    for _ in range(3):
        identifier = store.accept(InspectionRequest(b"image", name="a.png"))
        store.finish(identifier, make_report(category="blue plate"), {})
    store.add_feedback(identifier, "false_alarm", "ann")
    store.close()
    assert main(["threshold", "blue plate", "--set", "0.03", "--who", "ann", "--why", "wipes off"]) == 0
    assert main(["threshold", "blue plate", "--data", str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    assert "false-alarm rate 3.00%: set by ann" in said
    assert "wipes off" in said
    row = next(line for line in said.splitlines() if line.startswith(">   3.00%"))
    assert "3 of 3 (29.2%-100.0%)" in row
    assert "1 of 1" in row
    assert main(["threshold", "blue plate", "--back"]) == 0
    assert "2.00%: the usual one" in capsys.readouterr().out
    assert main(["threshold", "green plate"]) == 2
    assert main(["threshold", "blue plate", "--set", "2"]) == 2
    assert json.loads((folder / "threshold.json").read_text())[0]["why"] == "wipes off"
