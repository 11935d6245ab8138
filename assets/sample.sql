-- A small shop that tells the channel "orders" of every new order.
-- Can be run again: what is there stays.
--
-- Try it:
--   INSERT INTO orders (customer_name, total, status) VALUES ('Test User', 99.99, 'pending');
--   SELECT * FROM notification_log;

CREATE TABLE IF NOT EXISTS orders (
    id            serial         PRIMARY KEY,
    customer_name text           NOT NULL,
    total         numeric(10, 2) NOT NULL,
    status        text           NOT NULL DEFAULT 'pending',
    created_at    timestamptz    NOT NULL DEFAULT now()
);

-- NOTIFY itself keeps nothing: this is what was sent, to compare with what arrived.
CREATE TABLE IF NOT EXISTS notification_log (
    id         serial      PRIMARY KEY,
    channel    text        NOT NULL,
    payload    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION notify_order() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    payload text := json_build_object(
        'id', NEW.id,
        'customer_name', NEW.customer_name,
        'total', NEW.total,
        'status', NEW.status
    );
BEGIN
    -- PostgreSQL refuses a payload of 8000 bytes and more, and with it the order. The id is enough
    -- for a client to ask for the rest.
    IF octet_length(payload) > 7999 THEN
        payload := json_build_object('id', NEW.id);
    END IF;
    INSERT INTO notification_log (channel, payload) VALUES ('orders', payload);
    PERFORM pg_notify('orders', payload);
    RETURN NULL; -- ignored after the row is in
END
$$;

DROP TRIGGER IF EXISTS orders_notify ON orders;
CREATE TRIGGER orders_notify
    AFTER INSERT ON orders
    FOR EACH ROW EXECUTE FUNCTION notify_order();
