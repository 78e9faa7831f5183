-- The reader may look at public and features, at what will be there too, and at nothing else; temporary
-- tables are its own, for joins need them.
DO $$
DECLARE
    reader text := coalesce(nullif(current_setting('localdev.reader', true), ''), 'mlpipeline_reader');
    place text;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), reader);
    FOREACH place IN ARRAY ARRAY['public', 'features'] LOOP
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', place);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', place, reader);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I', place, reader);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO %I', place, reader);
    END LOOP;
END
$$;
