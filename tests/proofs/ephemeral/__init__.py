"""Proofs for machines that come and go: the state in a real PostgreSQL, the files of runs in moto's S3."""
