-- Rights of the role `jwt_auth`, which all functions except `migrate` use. It owns nothing. This file is not a migration, because a role belongs to
-- the whole server. With FUNCTIONS_ROLE, each `migrate` runs it. Without, the owner of the tables runs it once, after the first `migrate`
-- (docs/database.md). Running it again changes nothing.

-- PostgreSQL 15 and later do not grant this.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- The functions never change an id.
GRANT
    SELECT,
    INSERT (name, email, password, created_at, locale),
    UPDATE (name, email, password, credential_version, locale, email_verified_at),
    DELETE
ON users TO jwt_auth;
-- A table that was taken over may have a sequence of another name.
DO $$
DECLARE
    sequence regclass;
BEGIN
    FOR sequence IN
        SELECT s.oid
        FROM pg_attrdef a
        JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
        JOIN pg_class s ON d.refclassid = 'pg_class'::regclass AND s.oid = d.refobjid AND s.relkind = 'S'
        WHERE a.adrelid = 'users'::regclass
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO jwt_auth', sequence);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE
ON
    sessions,
    session_endings,
    password_resets,
    throttle,
    outbox,
    email_verifications,
    email_changes,
    email_undos,
    reserved_addresses,
    account_deletions,
    totp,
    recovery_codes,
    mfa_tokens,
    factor_undos,
    factor_changes,
    user_handles,
    passkeys,
    used_challenges
TO jwt_auth;

-- Rights on the tables of later migrations.
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO jwt_auth;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO jwt_auth;
