#!/usr/bin/env bash
# What the image's superuser does once, in an empty volume: the roles, their databases, and then it leaves.
# psql takes the values from the environment, so that no password is on a command line or in the server's log.
set -euo pipefail
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner OWNER
\getenv owner_password OWNER_PASSWORD
\getenv reader READER
\getenv reader_password READER_PASSWORD
\getenv database DATABASE
\getenv mlflow_database MLFLOW_DATABASE
\getenv superuser POSTGRES_USER
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
CREATE ROLE :"owner" LOGIN PASSWORD :'owner_password';
CREATE ROLE :"reader" LOGIN PASSWORD :'reader_password';
CREATE DATABASE :"database" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE :"mlflow_database" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE :"database", :"mlflow_database" FROM PUBLIC;
ALTER ROLE :"superuser" PASSWORD NULL;
SQL
