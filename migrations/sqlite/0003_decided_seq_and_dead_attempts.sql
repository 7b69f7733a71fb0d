-- The largest number that a decided attempt of the present epoch has: a stock store elsewhere whose
-- numbers are behind it has lost something.
ALTER TABLE sales ADD COLUMN decided_seq INTEGER NOT NULL DEFAULT 0;

-- Whether the payload is the line of an attempt that could not be decided.
ALTER TABLE dead_letters ADD COLUMN is_attempt INTEGER NOT NULL DEFAULT 0 CHECK (is_attempt IN (0, 1));
