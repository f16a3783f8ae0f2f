"""Requests by digest that were already seen."""

from runner.tabular.temporary import open_temporary_database


class DigestIndex:
    """A map from digests to numbers, in a temporary file.

    Memory stays flat, and nothing waits for the disk.
    """

    def __init__(self) -> None:
        self._db = open_temporary_database(
            "CREATE TABLE digest (digest BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID"
        )

    def setdefault(self, digest: bytes, number: int) -> int:
        """Return the number first stored for a digest; a new digest gets `number`."""
        values = (digest, number)
        if self._db.execute("INSERT INTO digest VALUES (?, ?) ON CONFLICT DO NOTHING", values).rowcount:
            return number
        return self._find_number(digest) or 0

    def _find_number(self, digest: bytes) -> int | None:
        found = self._db.execute("SELECT number FROM digest WHERE digest = ?", (digest,)).fetchone()
        return None if found is None else int(found[0])

    def __contains__(self, digest: bytes) -> bool:
        return self._find_number(digest) is not None

    def close(self) -> None:
        """Delete all digests."""
        self._db.close()
