-- What a sale needs to come back after its stock was lost, to be held before it sells, to be
-- withdrawn from and to be extended; and a place for what cannot become an order.

ALTER TABLE flash_sales
    -- Whether the shop wants it paused, whatever its phase.
    ADD COLUMN pause_requested boolean NOT NULL DEFAULT false,
    ADD COLUMN withdrawn_stock bigint NOT NULL DEFAULT 0 CHECK (withdrawn_stock >= 0),
    -- Attempts of epochs older than this one are refused.
    ADD COLUMN sealed_epoch bigint NOT NULL DEFAULT 1,
    -- The largest number that a decided attempt of the present epoch has.
    ADD COLUMN decided_seq bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT flash_sales_units,
    ADD CONSTRAINT flash_sales_units
        CHECK (remaining_stock BETWEEN 0 AND initial_stock + added_stock - withdrawn_stock);
UPDATE flash_sales SET pause_requested = true WHERE phase = 'PAUSED';
UPDATE flash_sales SET sealed_epoch = epoch;
ALTER TABLE flash_sales ADD CONSTRAINT flash_sales_seal CHECK (sealed_epoch BETWEEN 0 AND epoch);

ALTER TABLE stock_events
    DROP CONSTRAINT stock_events_kind_check,
    DROP CONSTRAINT stock_events_check,
    -- A number of units, or the new end of the sale in milliseconds.
    ADD CONSTRAINT stock_events_kind CHECK (CASE kind
        WHEN 'RESTOCK' THEN units > 0
        WHEN 'WITHDRAW' THEN units > 0
        WHEN 'EXTEND' THEN true
        ELSE kind IN ('PAUSE', 'RESUME', 'CLOSE') AND units = 0 END);

DROP TRIGGER flash_sales_no_new_units ON flash_sales;
CREATE TRIGGER flash_sales_no_new_units BEFORE UPDATE ON flash_sales FOR EACH ROW
    WHEN (NEW.id <> OLD.id OR NEW.product_id <> OLD.product_id
        OR NEW.initial_stock <> OLD.initial_stock
        OR NEW.withdrawn_stock < OLD.withdrawn_stock
        OR NEW.remaining_stock - OLD.remaining_stock
            > NEW.added_stock - OLD.added_stock - NEW.withdrawn_stock + OLD.withdrawn_stock
        OR NEW.epoch < OLD.epoch OR NEW.sealed_epoch < OLD.sealed_epoch
        OR NEW.version < OLD.version)
    EXECUTE FUNCTION flashsale_refuse('units come from added_stock, and epoch and version only grow');

DROP TRIGGER flash_sales_tell ON flash_sales;
CREATE TRIGGER flash_sales_tell AFTER INSERT OR DELETE
    OR UPDATE OF product_id, start_ms, end_ms, phase, pause_requested, initial_stock, added_stock,
        withdrawn_stock, epoch, sealed_epoch, version
    ON flash_sales FOR EACH STATEMENT EXECUTE FUNCTION flashsale_tell();

CREATE OR REPLACE FUNCTION flashsale_orders_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    taken record;
BEGIN
    FOR taken IN
        SELECT sale_id, epoch, max(seq) AS seq,
            coalesce(sum(quantity) FILTER (WHERE status = 'SUCCESS'), 0)::bigint AS units
        FROM inserted GROUP BY sale_id, epoch ORDER BY sale_id, epoch
    LOOP
        UPDATE flash_sales SET remaining_stock = remaining_stock - taken.units,
            decided_seq = CASE WHEN epoch = taken.epoch
                THEN greatest(decided_seq, taken.seq) ELSE decided_seq END
        WHERE id = taken.sale_id;
    END LOOP;
    INSERT INTO purchase_attempts (sale_id, user_id, at_ms, outcome, attempt_id)
    SELECT sale_id, user_id, reserved_ms, 'ACCEPTED', attempt_id FROM inserted;
    RETURN NULL;
END $$;

-- As before, but what counts is the seal, which lags behind the epoch while a lost stock is rebuilt.
CREATE OR REPLACE FUNCTION flashsale_commit(
    p_sale bigint, p_attempts uuid[], p_users text[], p_quantities bigint[], p_epochs bigint[],
    p_seqs bigint[], p_reserved bigint[], p_units bigint, p_oldest_epoch bigint
) RETURNS flashsale_decisions
LANGUAGE plpgsql AS $$
DECLARE
    sale record;
    now_ms bigint;
    answer flashsale_decisions;
BEGIN
    SELECT id, product_id, sealed_epoch, remaining_stock INTO sale
    FROM flash_sales WHERE id = p_sale FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    now_ms := flashsale_now_ms();
    IF p_units <= sale.remaining_stock AND p_oldest_epoch >= sale.sealed_epoch THEN
        answer.order_ids := array(
            SELECT nextval('orders_id_seq') FROM generate_series(1, cardinality(p_attempts)));
        BEGIN
            INSERT INTO orders (id, sale_id, product_id, quantity, epoch, seq, reserved_ms,
                decided_ms, attempt_id, user_id, status)
            SELECT a.id, sale.id, sale.product_id, a.quantity, a.epoch, a.seq, a.reserved,
                now_ms, a.attempt, a.buyer, 'SUCCESS'
            FROM unnest(answer.order_ids, p_attempts, p_users, p_quantities, p_epochs, p_seqs,
                p_reserved) AS a (id, attempt, buyer, quantity, epoch, seq, reserved);
            RETURN answer;
        EXCEPTION WHEN unique_violation THEN
            -- An attempt is known or repeated, or a user has an order.
            NULL;
        END;
    END IF;
    RETURN flashsale_commit_each(sale.id, sale.product_id, sale.sealed_epoch, sale.remaining_stock,
        p_attempts, p_users, p_quantities, p_epochs, p_seqs, p_reserved);
END $$;

-- What came out of the queue and could not be turned into an order, until somebody has looked.
CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position    text COLLATE "C" NOT NULL UNIQUE,
    problem     text NOT NULL,
    payload     bytea NOT NULL,
    kept_ms     bigint NOT NULL,
    replayed_ms bigint
);
