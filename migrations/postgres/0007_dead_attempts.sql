-- Whether the payload is the line of an attempt that could not be decided.
ALTER TABLE dead_letters ADD COLUMN is_attempt boolean NOT NULL DEFAULT false;
