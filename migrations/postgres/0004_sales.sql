-- How a sale is made, and how every process hears of it.

-- Stores a sale of the product of this name, which is made if there is none. If it overlaps a sale
-- of the product that is not closed, nothing is stored and `overlapped` names that one.
CREATE FUNCTION flashsale_create_sale(
    p_name text, p_description text, p_start bigint, p_end bigint, p_stock bigint,
    OUT sale bigint, OUT product bigint, OUT description text, OUT overlapped bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO products (name, description) VALUES (p_name, p_description)
    ON CONFLICT (name) DO NOTHING;
    -- Of several who make sales of one product, all but one wait here, and then see its sale.
    SELECT p.id, p.description INTO product, description
    FROM products AS p WHERE p.name = p_name FOR NO KEY UPDATE;
    SELECT s.id INTO overlapped FROM flash_sales AS s
    WHERE s.product_id = product AND s.phase <> 'CLOSED'
        AND s.start_ms < p_end AND p_start < s.end_ms
    ORDER BY s.id LIMIT 1;
    IF overlapped IS NULL THEN
        INSERT INTO flash_sales (product_id, start_ms, end_ms, initial_stock, remaining_stock)
        VALUES (product, p_start, p_end, p_stock, p_stock) RETURNING id INTO sale;
    END IF;
END $$;

-- Notifies all processes that a sale is new or has changed; selling does not count as a change.
CREATE FUNCTION flashsale_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('flashsale_sales', '');
    RETURN NULL;
END $$;

CREATE TRIGGER flash_sales_notify AFTER INSERT OR DELETE
    OR UPDATE OF product_id, start_ms, end_ms, phase, pause_requested, initial_stock, added_stock,
        withdrawn_stock, epoch, sealed_epoch, version
    ON flash_sales FOR EACH STATEMENT EXECUTE FUNCTION flashsale_notify();
CREATE TRIGGER products_notify AFTER UPDATE ON products
    FOR EACH STATEMENT EXECUTE FUNCTION flashsale_notify();
