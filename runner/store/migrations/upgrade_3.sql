-- From version 3 to version 4.
ALTER TABLE row ADD COLUMN extra INTEGER NOT NULL DEFAULT 0;
