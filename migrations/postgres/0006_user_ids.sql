-- Users who were brought along with ids of their own leave the sequence behind them.

-- Moves the sequence past every user there is. It has the rights of the tables' owner, so that the
-- role that sells needs none on the sequence.
CREATE FUNCTION flashsale_pass_user_ids() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT setval('users_id_seq', greatest((SELECT max(id) FROM users), nextval('users_id_seq')));
$$;
