-- Where the request and result of each row are is in index files from now on; what follows this script names them.
ALTER TABLE run ADD COLUMN unsent_index TEXT;
ALTER TABLE run ADD COLUMN duplicate_index TEXT;
ALTER TABLE batch ADD COLUMN request_index TEXT;
ALTER TABLE batch ADD COLUMN result_index TEXT;
ALTER TABLE batch ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
DROP TABLE row;
