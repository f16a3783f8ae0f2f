"""Read and write databases by URL: the only package that uses SQLAlchemy."""

from runner.database.connection import Failed, Transactions, query
from runner.database.tables import replaced, unfit, upserting

__all__ = ["Failed", "Transactions", "query", "replaced", "unfit", "upserting"]
