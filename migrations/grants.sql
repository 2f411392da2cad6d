-- What the functions may do, all but `migrate`: the role `jwt_auth`, which owns nothing. Not a migration, because a role is the whole
-- server's. Whoever owns the tables runs this, once, after the first `migrate` (docs/database.md), or again: it changes nothing then.

-- PostgreSQL 15 and later come without.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- Nobody's id, name or address changes, and no account is deleted.
GRANT SELECT, INSERT (name, email, password, created_at), UPDATE (password, credential_version) ON users TO jwt_auth;
GRANT USAGE ON SEQUENCE users_id_seq TO jwt_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, password_resets, throttle, outbox TO jwt_auth;

-- The tables of later migrations.
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO jwt_auth;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO jwt_auth;
