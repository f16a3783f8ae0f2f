"""Databases by URL, through SQLAlchemy: the only place that knows it."""

from runner.database.connection import Failed, Transactions, query
from runner.database.tables import replaced, unfit, upserting

__all__ = ["Failed", "Transactions", "query", "replaced", "unfit", "upserting"]
