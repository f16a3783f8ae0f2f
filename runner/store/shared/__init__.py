"""State that machines share: the database in PostgreSQL, leases on specs, and files in an object store."""
