from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stream_infer.errors import ConflictError, InvalidDataError, NotFoundError
from stream_infer.registry.entry import time_ms
from stream_infer.registry.registry import Registry
from stream_infer.registry.store import RegistryUnreachableError
from support.registries import NOON_MS, CutOff, folder_store, memory_store, registry_with


def served(registry: Registry) -> str | None:
    return registry.standing("tiny").champion


def test_a_promotion_says_who_when_why_from_and_to() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1", who="ada", why="the first")
    registry.promote("tiny", "2", who="ben", why="better on May")
    first, second = registry.history("tiny")
    assert (first.who, first.why, first.number) == ("ada", "the first", 1)
    assert [(m.alias, m.before, m.after) for m in second.moves] == [
        ("champion", "1", "2"),
        ("previous", None, "1"),
    ]
    assert time_ms(second.when) == NOON_MS + 2_000
    assert registry.standing("tiny").aliases == {"champion": "2", "previous": "1"}


def test_promoting_the_champion_again_writes_nothing() -> None:
    registry = registry_with("1")
    registry.promote("tiny", "1")
    assert registry.promote("tiny", "1") is None
    assert len(registry.history("tiny")) == 1


def test_a_promoted_challenger_is_a_challenger_no_longer() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2")
    registry.promote("tiny", "2")
    assert "challenger" not in registry.standing("tiny").aliases


def test_a_version_that_does_not_load_is_not_promoted(tmp_path: Path) -> None:
    registry = registry_with("1", "2", store=folder_store(tmp_path))
    registry.promote("tiny", "1")
    (tmp_path / "tiny/2/model.onnx").write_bytes(b"cut")
    with pytest.raises(InvalidDataError):
        registry.promote("tiny", "2")
    assert served(registry) == "1"


def test_rolling_back_returns_to_the_champion_before_and_bars_the_one_left() -> None:
    registry = registry_with("1", "2", "3")
    for version in ("1", "2", "3"):
        registry.promote("tiny", version)
    entry = registry.roll_back("tiny", why="too many alerts")
    assert entry is not None
    assert (served(registry), entry.barred) == ("2", "3")
    registry.roll_back("tiny")
    assert served(registry) == "1"
    with pytest.raises(ConflictError) as caught:
        registry.roll_back("tiny")
    assert caught.value.code == "nothing_to_roll_back_to"


def test_a_version_that_was_rolled_back_is_barred_until_a_person_clears_it() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    registry.roll_back("tiny")
    for automatic in (True, False):
        with pytest.raises(ConflictError) as caught:
            registry.promote("tiny", "2", automatic=automatic)
        assert caught.value.code == "version_barred"
    registry.clear("tiny", "2", who="ada", why="the feed was broken, not the model")
    registry.promote("tiny", "2")
    assert served(registry) == "2"
    with pytest.raises(NotFoundError):
        registry.clear("tiny", "2", why="again")


def test_a_challenger_that_loses_its_trial_is_taken_off_and_barred() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.assign("tiny", "challenger", "2")
    registry.reject("tiny", "2", alias="challenger", who="decider", why="lost")
    standing = registry.standing("tiny")
    assert (served(registry), "challenger" in standing.aliases) == ("1", False)
    assert list(standing.barred) == ["2"]


def test_the_champion_moves_by_promotion_and_rollback_alone() -> None:
    registry = registry_with("1")
    with pytest.raises(ConflictError) as caught:
        registry.assign("tiny", "champion", "1")
    assert caught.value.code == "alias_reserved"


def test_an_alias_is_taken_off() -> None:
    registry = registry_with("1")
    registry.assign("tiny", "shadow", "1")
    registry.assign("tiny", "shadow", None)
    assert registry.standing("tiny").aliases == {}
    assert registry.assign("tiny", "shadow", None) is None


def test_a_promotion_of_who_expects_another_champion_is_refused() -> None:
    registry = registry_with("1", "2", "3")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    with pytest.raises(ConflictError) as caught:
        registry.promote("tiny", "3", expected="1")
    assert caught.value.code == "alias_moved"


def test_of_two_promotions_at_once_one_is_refused_and_the_history_is_whole() -> None:
    store = memory_store()
    registry_with("0", "1", "2", "3", "4", store=store).promote("tiny", "0")
    results: list[str] = []
    gate = threading.Barrier(4)

    def run(version: str) -> None:
        gate.wait()
        try:
            Registry(store).promote("tiny", version, expected="0")
        except ConflictError as error:
            results.append(error.code)
        else:
            results.append("promoted")

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["alias_moved"] * 3 + ["promoted"]
    assert len(Registry(store).history("tiny")) == 2


def test_a_promotion_that_races_with_another_between_reading_and_writing_is_refused() -> None:
    store = memory_store()
    slow, quick = registry_with("1", "2", "3", store=store), Registry(store)
    slow.promote("tiny", "1")
    log = slow._log("tiny")
    standing = log.standing()
    quick.promote("tiny", "2")
    log.standing = lambda: log._standing  # type: ignore[method-assign]  # it has read already
    assert log.standing() == standing
    real = type(log).standing
    looks = [lambda: standing]

    def stale_then_fresh() -> object:
        return looks.pop()() if looks else real(log)

    log.standing = stale_then_fresh  # type: ignore[method-assign,assignment]
    with pytest.raises(ConflictError) as caught:
        slow.promote("tiny", "3")
    assert caught.value.code == "alias_moved"
    assert served(quick) == "2"


def test_entries_about_other_aliases_do_not_stand_in_the_way() -> None:
    store = memory_store()
    registry, other = registry_with("1", "2", "3", store=store), Registry(store)
    registry.promote("tiny", "1")
    registry.standing("tiny")
    other.assign("tiny", "shadow", "3")
    registry.promote("tiny", "2")
    assert other.standing("tiny").aliases == {"champion": "2", "previous": "1", "shadow": "3"}


def test_as_of_tells_what_served_at_a_time() -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    whens = [entry.when_ms for entry in registry.history("tiny")]
    assert registry.as_of("tiny", whens[0] - 1).champion is None
    assert registry.as_of("tiny", whens[0]).champion == "1"
    assert registry.as_of("tiny", whens[1] - 1).champion == "1"
    assert registry.as_of("tiny", whens[1]).champion == "2"


def test_a_clock_that_goes_back_does_not_turn_the_history_round() -> None:
    store = memory_store()
    registry_with("1", "2", store=store).promote("tiny", "1")
    Registry(store, now_ms=lambda: NOON_MS - 3_600_000).promote("tiny", "2")
    whens = [entry.when_ms for entry in Registry(store).history("tiny")]
    assert whens == sorted(whens)


def test_an_alias_to_a_deleted_version_is_named(tmp_path: Path) -> None:
    registry = registry_with("1", store=folder_store(tmp_path))
    registry.promote("tiny", "1")
    (tmp_path / "tiny/1/manifest.json").unlink()
    with pytest.raises(NotFoundError) as caught:
        registry.resolve("tiny", "champion")
    assert caught.value.code == "version_not_found"


def test_a_word_that_is_neither_alias_nor_version_is_named() -> None:
    registry = registry_with("1")
    assert registry.resolve("tiny", "1") == "1"
    with pytest.raises(NotFoundError) as caught:
        registry.resolve("tiny", "champion")
    assert caught.value.code == "alias_not_found"


@pytest.mark.parametrize("number", [1, 2])
def test_an_entry_that_is_missing_is_found(tmp_path: Path, number: int) -> None:
    registry = registry_with("1", "2", "3", store=folder_store(tmp_path))
    for version in ("1", "2", "3"):
        registry.promote("tiny", version)
    (tmp_path / f"tiny/_history/{number:010d}.json").unlink()
    with pytest.raises(InvalidDataError) as caught:
        Registry(folder_store(tmp_path)).promote("tiny", "1")
    assert caught.value.code == "history_damaged"


@pytest.mark.parametrize(
    ("find", "put"),
    [('"number": 2', '"number": 3'), ('"from": "1"', '"from": "3"'), ("}", "")],
)
def test_an_entry_that_was_changed_is_found(tmp_path: Path, find: str, put: str) -> None:
    registry = registry_with("1", "2", store=folder_store(tmp_path))
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    file = tmp_path / "tiny/_history/0000000002.json"
    assert find in file.read_text()
    file.write_text(file.read_text().replace(find, put))
    with pytest.raises(InvalidDataError) as caught:
        Registry(folder_store(tmp_path)).history("tiny")
    assert caught.value.code == "history_damaged"


def test_a_registry_that_is_cut_off_is_named_and_nothing_moves() -> None:
    store = CutOff(memory_store())
    registry = registry_with("1", "2", store=store)
    registry.promote("tiny", "1")
    store.is_cut_off = True
    for use in (
        lambda: registry.promote("tiny", "2"),
        lambda: registry.roll_back("tiny"),
        lambda: registry.standing("tiny"),
    ):
        with pytest.raises(RegistryUnreachableError):
            use()
    store.is_cut_off = False
    assert served(registry) == "1"
