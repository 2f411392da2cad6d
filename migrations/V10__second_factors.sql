-- Second factors: authenticator apps (TOTP) and recovery codes. All changes are instant, and code from before this migration does not use the tables.
-- That code opens sessions without a second factor. Only the new functions let a user add one.
--
-- After this migration, run grants.sql again, unless the function `migrate` has FUNCTIONS_ROLE and does it.
ALTER TABLE sessions ADD COLUMN amr integer;

COMMENT ON COLUMN sessions.amr IS
    'How the user has authenticated: the sum of 1 for the password and 2 for a code of an authenticator or a recovery code. NULL means 1.';

ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check, DROP CONSTRAINT outbox_check;
ALTER TABLE outbox
    ADD CONSTRAINT outbox_kind_check CHECK (
        kind IN (
            'password_reset', 'password_changed', 'verification', 'sign_up_attempted', 'email_change', 'email_change_requested', 'account_deleted'
        )
        OR kind LIKE 'password_changed %'
        OR kind LIKE 'email_change_requested %'
        OR kind LIKE 'email_changed %'
        OR kind LIKE 'email_restored %'
        OR kind LIKE 'totp_added %'
        OR kind LIKE 'totp_removed %'
        OR kind LIKE 'recovery_code_used %'
        OR kind LIKE 'recovery_codes_replaced %'
        OR kind LIKE 'second_factor_failed %'
    ) NOT VALID,
    ADD CONSTRAINT outbox_check CHECK (
        (page IS NOT NULL) = (
            kind IN ('password_reset', 'verification', 'email_change', 'account_deleted') OR kind LIKE 'email_changed %' OR kind LIKE 'totp_added %'
        )
    ) NOT VALID;

COMMENT ON COLUMN outbox.kind IS
    'The kind of mail (MailKind in shared/src/db/outbox.rs). Of some kinds, a user may have several mails. Then an id follows.';

ALTER TABLE session_endings ADD COLUMN changed_in uuid;

COMMENT ON COLUMN session_endings.changed_in IS
    'The session in which the user has changed the password. A repetition of the request in this session completes the change. NULL for other changes.';

CREATE TABLE totp (
    user_id      bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    factor_id    uuid NOT NULL,
    secret       bytea NOT NULL,
    key_id       text NOT NULL,
    session_id   uuid NOT NULL,
    tries        integer NOT NULL DEFAULT 0,
    last_step    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX totp_expires_at_idx ON totp (expires_at);

COMMENT ON TABLE totp IS 'The authenticator app of a user (RFC 6238). A user has at most one.';
COMMENT ON COLUMN totp.user_id IS 'The user.';
COMMENT ON COLUMN totp.factor_id IS 'The id of this enrolment.';
COMMENT ON COLUMN totp.secret IS
    'The secret, encrypted with AES-256-GCM. The id of the user is authenticated, too, so the secret works for no other user.';
COMMENT ON COLUMN totp.key_id IS 'The id of the key that encrypts the secret (DATA_SECRET_KEY).';
COMMENT ON COLUMN totp.session_id IS 'The session that began the enrolment. Only this session can confirm it.';
COMMENT ON COLUMN totp.tries IS 'The number of codes that were tried to confirm the enrolment.';
COMMENT ON COLUMN totp.last_step IS
    'The time step of the last code that was used, in units of 30 seconds since 1970. Codes of this and earlier steps are refused.';
COMMENT ON COLUMN totp.created_at IS 'When the enrolment began.';
COMMENT ON COLUMN totp.confirmed_at IS 'When the user confirmed the enrolment. NULL means that it is pending, and is no factor yet.';
COMMENT ON COLUMN totp.expires_at IS 'When a pending enrolment expires. A confirmed one does not expire.';

CREATE TABLE recovery_codes (
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    number     integer NOT NULL,
    code_hash  bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, number)
);

COMMENT ON TABLE recovery_codes IS 'Codes that stand in for the authenticator. A code that is used is deleted.';
COMMENT ON COLUMN recovery_codes.user_id IS 'The user.';
COMMENT ON COLUMN recovery_codes.number IS 'The place of the code among the codes of the user. New codes replace the earlier ones at the same places.';
COMMENT ON COLUMN recovery_codes.code_hash IS 'The SHA-256 of the code. Only the user has the code.';
COMMENT ON COLUMN recovery_codes.created_at IS 'When the code was made.';

CREATE TABLE mfa_tokens (
    token_hash         bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id            bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_version integer NOT NULL,
    tries              integer NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz NOT NULL
);
CREATE INDEX mfa_tokens_user_id_idx ON mfa_tokens (user_id);
CREATE INDEX mfa_tokens_expires_at_idx ON mfa_tokens (expires_at);

COMMENT ON TABLE mfa_tokens IS 'Sign-ins with the right password that wait for a second factor.';
COMMENT ON COLUMN mfa_tokens.token_hash IS 'The SHA-256 of the token. Only the client has the token.';
COMMENT ON COLUMN mfa_tokens.user_id IS 'The user.';
COMMENT ON COLUMN mfa_tokens.credential_version IS
    'The credential_version of the user at the sign-in. The token works only while the user has this version.';
COMMENT ON COLUMN mfa_tokens.tries IS 'The number of factors that were tried.';
COMMENT ON COLUMN mfa_tokens.created_at IS 'When the sign-in with the right password was made.';
COMMENT ON COLUMN mfa_tokens.expires_at IS 'When the token expires.';

CREATE TABLE factor_undos (
    factor_id  uuid PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX factor_undos_user_id_idx ON factor_undos (user_id);
CREATE INDEX factor_undos_expires_at_idx ON factor_undos (expires_at);

COMMENT ON TABLE factor_undos IS 'Second factors that the link in the notice can still remove.';
COMMENT ON COLUMN factor_undos.factor_id IS 'The factor (totp.factor_id).';
COMMENT ON COLUMN factor_undos.user_id IS 'The user.';
COMMENT ON COLUMN factor_undos.token_hash IS 'The SHA-256 of the token. Only the mail contains the token.';
COMMENT ON COLUMN factor_undos.created_at IS 'When the factor was added.';
COMMENT ON COLUMN factor_undos.expires_at IS 'When the link expires.';

CREATE TABLE factor_changes (
    id         uuid PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX factor_changes_user_id_idx ON factor_changes (user_id);
CREATE INDEX factor_changes_expires_at_idx ON factor_changes (expires_at);

COMMENT ON TABLE factor_changes IS
    'Uses and changes of second factors in the last minute. If a statement runs again after a lost answer, it finds here what its first run did.';
COMMENT ON COLUMN factor_changes.id IS 'A random id of the request.';
COMMENT ON COLUMN factor_changes.user_id IS 'The user.';
COMMENT ON COLUMN factor_changes.expires_at IS 'When the row is deleted.';
