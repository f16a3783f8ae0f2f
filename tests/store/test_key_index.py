"""Values by key, on disk."""

from runner.store.temporary.key_index import open_key_index


def test_first_value_of_a_key_stays() -> None:
    with open_key_index() as index:
        index.add("a", b"one")
        index.add("a", b"two")
        index.add("b", b"\x00\xff")
        assert [index.find(key) for key in ("a", "b", "c")] == [b"one", b"\x00\xff", None]
