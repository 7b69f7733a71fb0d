-- Of the results of two sales of a product, the later one is kept.
ALTER TABLE results ADD COLUMN reserved_at_ms INTEGER NOT NULL DEFAULT 0;

-- Whether the shop wants a sale paused, whatever its phase.
ALTER TABLE sales ADD COLUMN pause_requested INTEGER NOT NULL DEFAULT 0 CHECK (pause_requested IN (0, 1));
UPDATE sales SET pause_requested = 1 WHERE phase = 'PAUSED';
ALTER TABLE sales ADD COLUMN withdrawn_stock INTEGER NOT NULL DEFAULT 0
    CHECK (withdrawn_stock >= 0 AND remaining_stock <= initial_stock + added_stock - withdrawn_stock);
-- Attempts of epochs older than this one are refused.
ALTER TABLE sales ADD COLUMN sealed_epoch INTEGER NOT NULL DEFAULT 1;
UPDATE sales SET sealed_epoch = epoch;

-- Sales are also withdrawn from and extended; `units` is the new end of the latter.
CREATE TABLE new_sale_events (
    sale_id INTEGER NOT NULL REFERENCES sales,
    version INTEGER NOT NULL,
    kind    TEXT NOT NULL
        CHECK (kind IN ('PAUSE', 'RESUME', 'RESTOCK', 'WITHDRAW', 'EXTEND', 'CLOSE')),
    units   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (sale_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO new_sale_events SELECT sale_id, version, kind, units FROM sale_events;
DROP TABLE sale_events;
ALTER TABLE new_sale_events RENAME TO sale_events;

-- What came out of a queue and could not be turned into an order.
CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    position    TEXT NOT NULL UNIQUE,
    problem     TEXT NOT NULL,
    payload     BLOB NOT NULL,
    kept_ms     INTEGER NOT NULL,
    replayed_ms INTEGER
) STRICT;
