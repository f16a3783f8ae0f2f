"""Events are pending until each receiver has them."""

from secrets import token_hex

from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.store import Store


def add(store: Store, name: str, mark: str = "") -> None:
    store.event_log.add("job", None, name, mark, id=f"msg_{token_hex(8)}", body="{}")


def test_event_is_settled_once_all_receivers_have_it(place: StatePlace) -> None:
    with open_store(place) as store:
        store.hold("job")
        add(store, "finished")
        [event] = store.event_log.pending("job")
        store.event_log.note_told(event, "a")
        assert not store.event_log.settle(event, ["a", "b"])
        store.event_log.note_told(event, "b")
        assert store.event_log.settle(event, ["a", "b"])
        assert (store.event_log.pending("job"), store.event_log.list_told(event)) == ([], set())


def test_event_is_known_by_its_mark_and_time(place: StatePlace) -> None:
    with open_store(place) as store:
        store.hold("job")
        add(store, "failed", "7")
        [event] = store.event_log.pending("job")
        has_event = store.event_log.has_event
        assert has_event("job", None, "failed", "7", since=event.happened_at)
        assert not has_event("job", None, "failed", "7", since=event.happened_at + 1)
        assert not has_event("job", None, "failed", "8")
        assert not has_event("other", None, "failed", "7")


def test_other_connection_sees_an_event(place: StatePlace) -> None:
    with open_store(place) as store, open_store(place, lock=False) as other:
        store.hold("job")
        add(store, "finished")
        [event] = other.event_log.pending("job")
        assert other.event_log.settle(event, [])
        assert store.event_log.pending("job") == []
