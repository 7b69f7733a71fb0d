-- Of the results of two sales of a product, the later one is kept.
ALTER TABLE results ADD COLUMN reserved_at_ms INTEGER NOT NULL DEFAULT 0;
