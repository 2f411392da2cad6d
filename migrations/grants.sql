-- Rights of the role `jwt_auth`, which all functions except `migrate` use. It owns nothing. This file is not a migration, because a role belongs to
-- the whole server. With FUNCTIONS_ROLE, each `migrate` runs it. Without, the owner of the tables runs it once, after the first `migrate`
-- (docs/database.md). Running it again changes nothing.

-- PostgreSQL 15 and later do not grant this.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- The functions never change an id, a name or an address, and never delete an account.
GRANT SELECT, INSERT (name, email, password, created_at), UPDATE (password, credential_version) ON users TO jwt_auth;
GRANT USAGE ON SEQUENCE users_id_seq TO jwt_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, session_endings, password_resets, throttle, outbox TO jwt_auth;

-- Rights on the tables of later migrations.
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO jwt_auth;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO jwt_auth;
