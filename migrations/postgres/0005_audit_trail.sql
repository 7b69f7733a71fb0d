-- The newest refusals of each sale, as far as they are handed in.
CREATE TABLE refusals (
    sale_id bigint NOT NULL,
    -- Numbers the refusals of a sale without gaps.
    number  bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    at_ms   bigint NOT NULL,
    outcome text NOT NULL
        CHECK (outcome IN ('SOLD_OUT', 'SALE_NOT_STARTED', 'SALE_ENDED', 'SALE_PAUSED')),
    PRIMARY KEY (sale_id, number)
);

CREATE INDEX refusals_user ON refusals (sale_id, user_id, at_ms);

-- The audit trail: every accepted attempt, which is an order, and the refusals.
CREATE VIEW purchase_attempts AS
    SELECT sale_id, user_id, reserved_ms AS at_ms, 'ACCEPTED' AS outcome, attempt_id, id AS number
    FROM orders
    UNION ALL
    SELECT sale_id, user_id, at_ms, outcome, NULL, number FROM refusals;

-- How many refusals of a sale there were, and up to which number they are deleted.
CREATE TABLE refusal_counters (
    sale_id  bigint PRIMARY KEY,
    recorded bigint NOT NULL,
    deleted  bigint NOT NULL DEFAULT 0
)
WITH (fillfactor = 50);

-- Adds refusals to the audit trail, and deletes those of the same sales of which there are `p_keep`
-- newer ones. Sales are taken in ascending order, so that two calls cannot wait for each other.
--
-- Refusals of a sale are numbered without gaps, so the old ones are a range of numbers: nothing is
-- counted, and nothing that was deleted before is looked at again.
CREATE FUNCTION flashsale_record(
    p_sales bigint[], p_users text[], p_times bigint[], p_outcomes text[], p_keep bigint
) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    batch record;
    counter record;
BEGIN
    FOR batch IN
        SELECT s AS sale, count(*) AS size FROM unnest(p_sales) AS s GROUP BY s ORDER BY s
    LOOP
        INSERT INTO refusal_counters AS c (sale_id, recorded) VALUES (batch.sale, batch.size)
        ON CONFLICT (sale_id) DO UPDATE SET recorded = c.recorded + batch.size
        RETURNING recorded, deleted, recorded - p_keep AS old INTO counter;
        INSERT INTO refusals (sale_id, user_id, at_ms, outcome, number)
        SELECT a.sale, a.buyer, a.at_ms, a.outcome,
            counter.recorded - batch.size + row_number() OVER (ORDER BY a.place)
        FROM unnest(p_sales, p_users, p_times, p_outcomes) WITH ORDINALITY
            AS a (sale, buyer, at_ms, outcome, place)
        WHERE a.sale = batch.sale;
        IF counter.old > counter.deleted THEN
            DELETE FROM refusals WHERE sale_id = batch.sale
                AND number > counter.deleted AND number <= counter.old;
            UPDATE refusal_counters SET deleted = counter.old WHERE sale_id = batch.sale;
        END IF;
    END LOOP;
END $$;
