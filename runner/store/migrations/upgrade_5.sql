-- From version 5 to version 6: creates that the API refused or may have paid twice, and incomplete downloads.
ALTER TABLE batch ADD COLUMN assumed_unsent_at REAL;
ALTER TABLE batch ADD COLUMN incomplete_since REAL;
ALTER TABLE batch ADD COLUMN incomplete_at REAL;
ALTER TABLE batch ADD COLUMN missing_results INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN doubted_cost REAL NOT NULL DEFAULT 0;
