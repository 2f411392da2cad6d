-- Passkeys (WebAuthn). All changes are instant, and code from before this migration does not use the tables. That code ignores passkeys, so the password
-- alone opens a session. Only the new functions let a user add a passkey.
--
-- After this migration, run grants.sql again, unless the function `migrate` has FUNCTIONS_ROLE and does it.
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
        OR kind LIKE 'passkey_added %'
        OR kind LIKE 'passkey_removed %'
        OR kind LIKE 'passkey_copied %'
        OR kind LIKE 'recovery_code_used %'
        OR kind LIKE 'recovery_codes_replaced %'
        OR kind LIKE 'second_factor_failed %'
    ) NOT VALID,
    ADD CONSTRAINT outbox_check CHECK (
        (page IS NOT NULL) = (
            kind IN ('password_reset', 'verification', 'email_change', 'account_deleted')
            OR kind LIKE 'email_changed %'
            OR kind LIKE 'totp_added %'
            OR kind LIKE 'passkey_added %'
        )
    ) NOT VALID;

COMMENT ON COLUMN sessions.credential_version IS 'The credential_version of the user with which the session is live.';
COMMENT ON COLUMN sessions.amr IS
    'How the user has authenticated: the sum of 1 for the password, 2 for a code of an authenticator or a recovery code, 4 for a passkey, and 8 if the passkey was shown without the password. NULL means 1.';

ALTER TABLE factor_undos ADD COLUMN kind text NOT NULL DEFAULT 'totp';

COMMENT ON COLUMN factor_undos.kind IS 'The kind of factor: totp or passkey. The factor may have been removed since.';

CREATE TABLE user_handles (
    user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    handle  bytea NOT NULL UNIQUE CHECK (octet_length(handle) = 32)
);

COMMENT ON TABLE user_handles IS 'The WebAuthn user handle of each user who has requested options for a new passkey.';
COMMENT ON COLUMN user_handles.user_id IS 'The user.';
COMMENT ON COLUMN user_handles.handle IS 'The handle: 32 random bytes.';

CREATE TABLE passkeys (
    factor_id       uuid PRIMARY KEY,
    user_id         bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name            text NOT NULL,
    credential_id   bytea NOT NULL UNIQUE CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    public_key      bytea NOT NULL,
    rp_id           text NOT NULL,
    sign_count      bigint NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up       boolean NOT NULL,
    transports      text[] NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_used_at    timestamptz
);
CREATE INDEX passkeys_user_id_idx ON passkeys (user_id);

COMMENT ON TABLE passkeys IS 'The passkeys of the users (WebAuthn Level 3). Each is a second factor, and opens a session alone.';
COMMENT ON COLUMN passkeys.factor_id IS 'The id of this factor.';
COMMENT ON COLUMN passkeys.user_id IS 'The user.';
COMMENT ON COLUMN passkeys.name IS 'The name that the user has given it.';
COMMENT ON COLUMN passkeys.credential_id IS 'The id that the authenticator has given it.';
COMMENT ON COLUMN passkeys.public_key IS 'The public key, as a COSE key (RFC 9052).';
COMMENT ON COLUMN passkeys.rp_id IS 'The domain that it belongs to (PASSKEY_RP_ID when it was added). It works only there.';
COMMENT ON COLUMN passkeys.sign_count IS 'The signature counter at the last use. Zero if the authenticator does not count.';
COMMENT ON COLUMN passkeys.backup_eligible IS 'Whether the authenticator may copy it to other devices of the user.';
COMMENT ON COLUMN passkeys.backed_up IS 'Whether such a copy existed at the last use.';
COMMENT ON COLUMN passkeys.transports IS 'How the browser reaches the authenticator. Browsers get them as hints.';
COMMENT ON COLUMN passkeys.created_at IS 'When it was added.';
COMMENT ON COLUMN passkeys.last_used_at IS 'When it was last used. NULL means never.';

CREATE TABLE used_challenges (
    challenge  bytea PRIMARY KEY CHECK (octet_length(challenge) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX used_challenges_expires_at_idx ON used_challenges (expires_at);

COMMENT ON TABLE used_challenges IS 'Used challenges. Each may be used once. They name no user.';
COMMENT ON COLUMN used_challenges.challenge IS 'The challenge.';
COMMENT ON COLUMN used_challenges.expires_at IS 'When the row is deleted. The challenge has expired then.';
