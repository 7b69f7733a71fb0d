-- The arbiter. Its rules are those of `Arbiter` in flashsale-core, against which it is tested.
--
-- One call is one transaction of one statement: no client holds the lock of a sale while a message
-- travels, and a call waits for that one lock only, so calls cannot wait for each other in a
-- circle. Order ids are given under the lock: within a sale they ascend in the order of the
-- commits, so that a reader who pages by id misses nothing.

CREATE FUNCTION flashsale_now_ms() RETURNS bigint LANGUAGE sql AS
$$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- What was decided about some attempts, in their order: the order of a success or else the reason
-- of a failure, and for a duplicate the order that its user keeps.
CREATE TYPE flashsale_decisions AS (
    order_ids       bigint[],
    reasons         text[],
    kept_orders     bigint[],
    kept_attempts   uuid[],
    kept_quantities bigint[]
);

-- The decisions as they stand in the orders.
--
-- Here and below, a plan that was made while the table was small must not read all of it when it is
-- large: each row is looked up by itself, and in an index.
CREATE FUNCTION flashsale_decisions(p_attempts uuid[]) RETURNS flashsale_decisions
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    answer flashsale_decisions;
BEGIN
    SELECT coalesce(array_agg(o.id ORDER BY place), '{}'), array_agg(o.reason ORDER BY place),
        array_agg(o.kept_order_id ORDER BY place), array_agg(o.kept_attempt_id ORDER BY place),
        array_agg(o.kept_quantity ORDER BY place)
    INTO answer
    FROM unnest(p_attempts) WITH ORDINALITY AS asked (attempt, place)
    LEFT JOIN LATERAL (
        SELECT * FROM orders WHERE attempt_id = asked.attempt LIMIT 1
    ) AS o ON true;
    RETURN answer;
END $$;

-- Decides about attempts of one sale, in order. Null if there is no such sale.
--
-- `p_units` is the sum of the quantities and `p_oldest_epoch` the least of the epochs. If they
-- leave no doubt, every attempt becomes an order unless an index objects: the common case costs
-- little more than the insert. Else each attempt is looked at. The epoch that counts is the sealed
-- one, which lags behind while a lost stock is rebuilt.
CREATE FUNCTION flashsale_commit(
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

-- The rules, attempt by attempt. The caller holds the lock of the sale.
CREATE FUNCTION flashsale_commit_each(
    p_sale bigint, p_product bigint, p_epoch bigint, p_remaining bigint, p_attempts uuid[],
    p_users text[], p_quantities bigint[], p_epochs bigint[], p_seqs bigint[], p_reserved bigint[]
) RETURNS flashsale_decisions
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    count constant int := cardinality(p_attempts);
    now_ms constant bigint := flashsale_now_ms();
    remaining bigint := p_remaining;
    -- For each place in the batch: whether its attempt is not decided yet, the place before it with
    -- the same user, and the place up to there at which that user has got an order, or 0.
    fresh boolean[];
    previous int[];
    winners int[] := array_fill(0, ARRAY[count]);
    winner int;
    fates flashsale_decisions;
BEGIN
    SELECT array_agg(decided.id IS NULL AND nth = 1 ORDER BY place),
        array_agg(earlier ORDER BY place), array_agg(kept.id ORDER BY place),
        array_agg(kept.attempt_id ORDER BY place), array_agg(kept.quantity ORDER BY place)
    INTO fresh, previous, fates.kept_orders, fates.kept_attempts, fates.kept_quantities
    FROM (
        SELECT attempt, buyer, place,
            row_number() OVER (PARTITION BY attempt ORDER BY place) AS nth,
            lag(place) OVER (PARTITION BY buyer ORDER BY place) AS earlier
        FROM unnest(p_attempts, p_users) WITH ORDINALITY AS a (attempt, buyer, place)
    ) AS asked
    LEFT JOIN LATERAL (
        SELECT id FROM orders WHERE attempt_id = asked.attempt LIMIT 1
    ) AS decided ON true
    LEFT JOIN LATERAL (
        SELECT id, attempt_id, quantity FROM orders
        WHERE sale_id = p_sale AND user_id = asked.buyer AND status = 'SUCCESS' LIMIT 1
    ) AS kept ON true;

    fates.order_ids := array(SELECT CASE WHEN f THEN nextval('orders_id_seq') END
        FROM unnest(fresh) AS f);
    fates.reasons := array_fill(NULL::text, ARRAY[count]);
    FOR place IN 1 .. count LOOP
        winner := coalesce(winners[previous[place]], 0);
        IF fresh[place] THEN
            IF p_epochs[place] < p_epoch THEN
                fates.reasons[place] := 'STALE_EPOCH';
            ELSIF fates.kept_orders[place] IS NOT NULL THEN
                fates.reasons[place] := 'DUPLICATE';
            ELSIF winner > 0 THEN
                fates.reasons[place] := 'DUPLICATE';
                fates.kept_orders[place] := fates.order_ids[winner];
                fates.kept_attempts[place] := p_attempts[winner];
                fates.kept_quantities[place] := p_quantities[winner];
            ELSIF p_quantities[place] > remaining THEN
                fates.reasons[place] := 'NO_STOCK';
            ELSE
                remaining := remaining - p_quantities[place];
                winner := place;
            END IF;
        END IF;
        winners[place] := winner;
    END LOOP;

    INSERT INTO orders (id, sale_id, product_id, quantity, epoch, seq, reserved_ms, decided_ms,
        attempt_id, user_id, status, reason, kept_order_id, kept_attempt_id, kept_quantity)
    SELECT a.id, p_sale, p_product, a.quantity, a.epoch, a.seq, a.reserved, now_ms,
        a.attempt, a.buyer, CASE WHEN a.reason IS NULL THEN 'SUCCESS' ELSE 'FAILED' END, a.reason,
        CASE a.reason WHEN 'DUPLICATE' THEN a.kept_order END,
        CASE a.reason WHEN 'DUPLICATE' THEN a.kept_attempt END,
        CASE a.reason WHEN 'DUPLICATE' THEN a.kept_quantity END
    FROM unnest(fates.order_ids, p_attempts, p_users, p_quantities, p_epochs, p_seqs, p_reserved,
            fates.reasons, fates.kept_orders, fates.kept_attempts, fates.kept_quantities)
        AS a (id, attempt, buyer, quantity, epoch, seq, reserved,
            reason, kept_order, kept_attempt, kept_quantity)
    WHERE a.id IS NOT NULL;
    RETURN flashsale_decisions(p_attempts);
END $$;

-- Fails those of the attempts that are not decided. Null if there is no such sale.
CREATE FUNCTION flashsale_release(
    p_sale bigint, p_attempts uuid[], p_users text[], p_quantities bigint[], p_epochs bigint[],
    p_seqs bigint[], p_reserved bigint[], p_reason text, p_kept_order bigint, p_kept_attempt uuid,
    p_kept_quantity bigint
) RETURNS flashsale_decisions
LANGUAGE plpgsql AS $$
DECLARE
    product bigint;
    now_ms bigint;
BEGIN
    SELECT product_id INTO product FROM flash_sales WHERE id = p_sale FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    now_ms := flashsale_now_ms();
    INSERT INTO orders (sale_id, product_id, quantity, epoch, seq, reserved_ms, decided_ms,
        attempt_id, user_id, status, reason, kept_order_id, kept_attempt_id, kept_quantity)
    SELECT p_sale, product, a.quantity, a.epoch, a.seq, a.reserved, now_ms,
        a.attempt, a.buyer, 'FAILED', p_reason, p_kept_order, p_kept_attempt, p_kept_quantity
    FROM unnest(p_attempts, p_users, p_quantities, p_epochs, p_seqs, p_reserved)
        AS a (attempt, buyer, quantity, epoch, seq, reserved)
    ON CONFLICT (attempt_id) DO NOTHING;
    RETURN flashsale_decisions(p_attempts);
END $$;
