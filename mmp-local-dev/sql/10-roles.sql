-- The role that only reads. Its name and password come as settings of the session
-- (localdev.reader, localdev.reader_password), so that no password is ever in a file or a command line.
-- Where the session may not create roles, whoever may has done so before.
DO $$
DECLARE
    reader text := coalesce(nullif(current_setting('localdev.reader', true), ''), 'mlpipeline_reader');
    password text := nullif(current_setting('localdev.reader_password', true), '');
    may_create boolean := (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user);
    is_there boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = reader);
BEGIN
    IF NOT is_there AND may_create THEN
        EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', reader);
        is_there := true;
        IF password IS NOT NULL THEN
            EXECUTE format('ALTER ROLE %I PASSWORD %L', reader, password);
        END IF;
    END IF;
    IF NOT is_there THEN
        RAISE EXCEPTION 'the role % does not exist, and % may not create it', reader, current_user;
    END IF;
END
$$;
