-- The embedded engine's one file. Times are milliseconds since 1970, ids of attempts are 16 bytes.

CREATE TABLE products (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL
) STRICT;

CREATE TABLE sales (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id      INTEGER NOT NULL REFERENCES products,
    start_ms        INTEGER NOT NULL,
    end_ms          INTEGER NOT NULL,
    phase           TEXT NOT NULL
        CHECK (phase IN ('SCHEDULED', 'OPEN', 'PAUSED', 'RECOVERING', 'CLOSED')),
    -- Whether the shop wants it paused, whatever its phase.
    pause_requested INTEGER NOT NULL DEFAULT 0 CHECK (pause_requested IN (0, 1)),
    initial_stock   INTEGER NOT NULL CHECK (initial_stock > 0),
    added_stock     INTEGER NOT NULL DEFAULT 0 CHECK (added_stock >= 0),
    withdrawn_stock INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn_stock >= 0),
    remaining_stock INTEGER NOT NULL,
    epoch           INTEGER NOT NULL,
    -- Attempts of epochs older than this one are refused. It lags behind the epoch while a lost
    -- stock is rebuilt, so that what was accepted before the loss still becomes orders.
    sealed_epoch    INTEGER NOT NULL DEFAULT 1,
    -- The largest number that a decided attempt of `epoch` has: a stock store elsewhere whose
    -- numbers are behind it has lost something.
    decided_seq     INTEGER NOT NULL DEFAULT 0,
    version         INTEGER NOT NULL,
    -- Every attempt of this sale has a larger id: scans start here.
    attempts_after  INTEGER NOT NULL,
    CHECK (start_ms < end_ms),
    -- The last guard against an oversell, whatever the program believes.
    CHECK (remaining_stock BETWEEN 0 AND initial_stock + added_stock - withdrawn_stock)
) STRICT;

-- What was done to a sale, for a stock store that missed it. Versions of a sale have no gaps.
CREATE TABLE sale_events (
    sale_id INTEGER NOT NULL REFERENCES sales,
    version INTEGER NOT NULL,
    kind    TEXT NOT NULL
        CHECK (kind IN ('PAUSE', 'RESUME', 'RESTOCK', 'WITHDRAW', 'EXTEND', 'CLOSE')),
    -- A number of units, or the new end of the sale in milliseconds.
    units   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (sale_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    username      TEXT NOT NULL UNIQUE COLLATE NOCASE,
    email         TEXT NOT NULL UNIQUE COLLATE NOCASE,
    full_name     TEXT,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('BUYER', 'ADMIN'))
) STRICT;

-- What the stock store sells from. `units` is all that it accounts for: available, reserved, sold.
CREATE TABLE stock (
    sale_id        INTEGER PRIMARY KEY,
    product_id     INTEGER NOT NULL,
    start_ms       INTEGER NOT NULL,
    end_ms         INTEGER NOT NULL,
    phase          TEXT NOT NULL,
    -- `epoch` is ahead of `opened_epoch` while the sale is fenced.
    epoch          INTEGER NOT NULL,
    opened_epoch   INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    units          INTEGER NOT NULL CHECK (units >= 0),
    attempts_after INTEGER NOT NULL
) STRICT;

-- One row per accepted attempt, from the reservation to the order: rows are only ever appended,
-- and decided once. `decision` is null while undecided, then SUCCESS or the reason of the failure.
-- The order's id is the row's, unless `order_id` says otherwise: then another repository decided,
-- or the attempt is a duplicate and the columns name the order that its user keeps.
CREATE TABLE attempts (
    id          INTEGER PRIMARY KEY,
    attempt_id  BLOB NOT NULL UNIQUE CHECK (length(attempt_id) = 16),
    sale_id     INTEGER NOT NULL,
    product_id  INTEGER NOT NULL,
    user_id     TEXT NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    epoch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    reserved_ms INTEGER NOT NULL,
    decision    TEXT,
    decided_ms  INTEGER,
    order_id    INTEGER,
    kept_attempt_id BLOB,
    kept_quantity   INTEGER
) STRICT;

-- What a user reads; of the results of two sales of a product, the later one is kept.
CREATE TABLE results (
    user_id         TEXT NOT NULL,
    product_id      INTEGER NOT NULL,
    sale_id         INTEGER NOT NULL,
    attempt_id      BLOB NOT NULL,
    reserved_at_ms  INTEGER NOT NULL DEFAULT 0,
    decision        TEXT NOT NULL,
    order_id        INTEGER,
    kept_attempt_id BLOB,
    kept_quantity   INTEGER,
    PRIMARY KEY (user_id, product_id)
) STRICT, WITHOUT ROWID;

-- The newest refusals of each sale, for the audit trail.
CREATE TABLE refusals (
    id      INTEGER PRIMARY KEY,
    sale_id INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

-- Accepted attempts on their way to whoever decides about them, in the order of `position`, and how
-- far each group of readers has come.
CREATE TABLE queue (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt_id  BLOB NOT NULL,
    sale_id     INTEGER NOT NULL,
    product_id  INTEGER NOT NULL,
    user_id     TEXT NOT NULL,
    quantity    INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    reserved_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE queue_groups (
    name TEXT PRIMARY KEY,
    done INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What came out of a queue and could not be turned into an order, until somebody has looked.
CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    position    TEXT NOT NULL UNIQUE,
    problem     TEXT NOT NULL,
    -- As it came from the queue, or the line of an attempt that could not be decided.
    payload     BLOB NOT NULL,
    is_attempt  INTEGER NOT NULL DEFAULT 0 CHECK (is_attempt IN (0, 1)),
    kept_ms     INTEGER NOT NULL,
    replayed_ms INTEGER
) STRICT;
