-- From version 5 to version 6: creates that the API refused, and the times of incomplete downloads.
ALTER TABLE batch ADD COLUMN assumed_unsent_at REAL;
ALTER TABLE batch ADD COLUMN incomplete_since REAL;
ALTER TABLE batch ADD COLUMN incomplete_at REAL;
ALTER TABLE batch ADD COLUMN missing_results INTEGER NOT NULL DEFAULT 0;
