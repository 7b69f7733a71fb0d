-- What holds even if somebody writes to the tables by hand.

-- Inserted orders take their units and raise `decided_seq`, whoever inserts them; the check on the
-- units then aborts an oversell. Sales are taken in ascending order, so that two statements cannot
-- wait for each other. The update locks the sale until the orders are there or not, so nobody
-- deletes it meanwhile.
CREATE FUNCTION flashsale_orders_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    taken record;
BEGIN
    FOR taken IN
        SELECT sale_id, product_id, epoch, max(seq) AS seq,
            coalesce(sum(quantity) FILTER (WHERE status = 'SUCCESS'), 0)::bigint AS units
        FROM inserted GROUP BY sale_id, product_id, epoch ORDER BY sale_id, product_id, epoch
    LOOP
        UPDATE flash_sales SET remaining_stock = remaining_stock - taken.units,
            decided_seq = CASE WHEN epoch = taken.epoch
                THEN greatest(decided_seq, taken.seq) ELSE decided_seq END
        WHERE id = taken.sale_id AND product_id = taken.product_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'flashsale: there is no sale % of product %',
                taken.sale_id, taken.product_id
                USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'orders_sale';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER orders_inserted AFTER INSERT ON orders
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT
    EXECUTE FUNCTION flashsale_orders_inserted();

CREATE FUNCTION flashsale_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'flashsale: % of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION flashsale_sale_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM orders WHERE sale_id = OLD.id) THEN
        RAISE EXCEPTION 'flashsale: sale % has orders', OLD.id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'orders_sale';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER flash_sales_with_orders_stay BEFORE DELETE ON flash_sales
    FOR EACH ROW EXECUTE FUNCTION flashsale_sale_deleted();
CREATE TRIGGER flash_sales_stay BEFORE TRUNCATE ON flash_sales
    FOR EACH STATEMENT EXECUTE FUNCTION flashsale_refuse('sales with orders stay');

CREATE TRIGGER orders_kept_for_ever BEFORE UPDATE OR DELETE OR TRUNCATE ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION flashsale_refuse('a decision never changes');

CREATE TRIGGER flash_sales_all_units BEFORE INSERT ON flash_sales FOR EACH ROW
    WHEN (NEW.remaining_stock <> NEW.initial_stock + NEW.added_stock)
    EXECUTE FUNCTION flashsale_refuse('a new sale has all its units');

CREATE TRIGGER flash_sales_no_new_units BEFORE UPDATE ON flash_sales FOR EACH ROW
    WHEN (NEW.id <> OLD.id OR NEW.product_id <> OLD.product_id
        OR NEW.initial_stock <> OLD.initial_stock
        OR NEW.withdrawn_stock < OLD.withdrawn_stock
        OR NEW.remaining_stock - OLD.remaining_stock
            > NEW.added_stock - OLD.added_stock - NEW.withdrawn_stock + OLD.withdrawn_stock
        OR NEW.epoch < OLD.epoch OR NEW.sealed_epoch < OLD.sealed_epoch
        OR NEW.version < OLD.version)
    EXECUTE FUNCTION flashsale_refuse('units come from added_stock, and epoch and version only grow');
