-- Users who were brought along with ids of their own leave the sequence behind them.

-- flashsale_pass_user_ids() moves the sequence past every user there is. It has the rights of the
-- owner of the tables, so that the role that sells needs none on the sequence. That is why it looks
-- into their schema only, and last into that for temporary tables, which anybody may fill.
DO $do$
DECLARE
    home text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'users'::regclass);
BEGIN
    EXECUTE format($create$
        CREATE FUNCTION flashsale_pass_user_ids() RETURNS bigint
        LANGUAGE sql SECURITY DEFINER SET search_path = %s, pg_temp AS $$
            SELECT setval('users_id_seq',
                greatest((SELECT max(id) FROM users), nextval('users_id_seq')));
        $$
    $create$, home);
END $do$;
