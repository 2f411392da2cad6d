-- Verification of an address, change of an address, and deletion of an account. All changes are instant, and code from before this migration does not use
-- the tables.
--
-- After this migration, run grants.sql again, unless the function `migrate` has FUNCTIONS_ROLE and does it.
ALTER TABLE outbox
    DROP CONSTRAINT outbox_kind_check,
    DROP CONSTRAINT outbox_check,
    ADD COLUMN recipient text;
ALTER TABLE outbox
    ADD CONSTRAINT outbox_kind_check CHECK (
        kind IN (
            'password_reset', 'password_changed', 'verification', 'sign_up_attempted', 'email_change', 'email_change_requested', 'account_deleted'
        )
        OR kind LIKE 'email_changed %'
        OR kind LIKE 'email_restored %'
    ) NOT VALID,
    ADD CONSTRAINT outbox_check CHECK (
        (page IS NOT NULL) = (kind IN ('password_reset', 'verification', 'email_change', 'account_deleted') OR kind LIKE 'email_changed %')
    ) NOT VALID;

COMMENT ON COLUMN outbox.kind IS
    'The kind of mail (MailKind in shared/src/db/outbox.rs). Of some kinds, a user may have several mails. Then the id of the change of the address follows.';
COMMENT ON COLUMN outbox.recipient IS 'The address that the mail is sent to. If it is NULL, the mail is sent to the address of the account.';

CREATE TABLE email_verifications (
    user_id            bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    email              text NOT NULL,
    credential_version integer NOT NULL,
    token_hash         bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    code_hash          bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    code_tries         integer NOT NULL DEFAULT 0,
    code_expires_at    timestamptz NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz NOT NULL
);
CREATE INDEX email_verifications_expires_at_idx ON email_verifications (expires_at);

COMMENT ON TABLE email_verifications IS 'The link and the code that verify the address of an account. A newer mail replaces both.';
COMMENT ON COLUMN email_verifications.user_id IS 'The user.';
COMMENT ON COLUMN email_verifications.email IS 'The address that the mail was sent to. The link and the code work only while the account has this address.';
COMMENT ON COLUMN email_verifications.credential_version IS
    'The credential_version of the user when the mail was requested. The link and the code work only while the user has this version.';
COMMENT ON COLUMN email_verifications.token_hash IS 'The SHA-256 of the token. Only the mail contains the token.';
COMMENT ON COLUMN email_verifications.code_hash IS
    'The HMAC of the code, with a key that is derived from JWT_SECRET_KEY. Only the mail contains the code.';
COMMENT ON COLUMN email_verifications.code_tries IS 'The number of codes that were tried.';
COMMENT ON COLUMN email_verifications.code_expires_at IS 'When the code expires.';
COMMENT ON COLUMN email_verifications.created_at IS 'When the mail was requested, or last sent again.';
COMMENT ON COLUMN email_verifications.expires_at IS 'When the link expires.';

CREATE TABLE email_changes (
    user_id            bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    email              text NOT NULL,
    credential_version integer NOT NULL,
    token_hash         bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at         timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz NOT NULL
);
CREATE INDEX email_changes_expires_at_idx ON email_changes (expires_at);

COMMENT ON TABLE email_changes IS 'A requested change of the address of an account. A newer request replaces it.';
COMMENT ON COLUMN email_changes.user_id IS 'The user.';
COMMENT ON COLUMN email_changes.email IS 'The new address. It may belong to another account. Then the change never takes place.';
COMMENT ON COLUMN email_changes.credential_version IS
    'The credential_version of the user at the request. The change can take place only while the user has this version.';
COMMENT ON COLUMN email_changes.token_hash IS 'The SHA-256 of the token. Only the mail to the new address contains the token.';
COMMENT ON COLUMN email_changes.created_at IS 'When the change was requested.';
COMMENT ON COLUMN email_changes.expires_at IS 'When the request expires.';

CREATE TABLE email_undos (
    id                uuid PRIMARY KEY,
    user_id           bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email             text NOT NULL,
    email_verified_at timestamptz,
    token_hash        bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    changed_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz NOT NULL
);
CREATE INDEX email_undos_user_id_idx ON email_undos (user_id);
CREATE INDEX email_undos_expires_at_idx ON email_undos (expires_at);

COMMENT ON TABLE email_undos IS 'A change of the address of an account that can still be undone.';
COMMENT ON COLUMN email_undos.id IS 'The change.';
COMMENT ON COLUMN email_undos.user_id IS 'The user.';
COMMENT ON COLUMN email_undos.email IS 'The address before the change. Undoing restores it.';
COMMENT ON COLUMN email_undos.email_verified_at IS 'When that address was verified. NULL if it was not.';
COMMENT ON COLUMN email_undos.token_hash IS 'The SHA-256 of the token. Only the mail to the earlier address contains the token.';
COMMENT ON COLUMN email_undos.changed_at IS 'When the address was changed.';
COMMENT ON COLUMN email_undos.expires_at IS 'Until when the change can be undone.';

-- A change of an address can be undone only if nobody else takes the earlier address in the meantime. A unique index of `users` cannot prevent this. So
-- every statement that gives an address to an account also writes this table, and the primary key decides between concurrent ones.
CREATE TABLE reserved_addresses (
    address    text COLLATE "C" PRIMARY KEY,
    user_id    bigint REFERENCES users (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX reserved_addresses_user_id_idx ON reserved_addresses (user_id);
CREATE INDEX reserved_addresses_expires_at_idx ON reserved_addresses (expires_at);

COMMENT ON TABLE reserved_addresses IS 'Addresses that only one account may take, because it may get them back.';
COMMENT ON COLUMN reserved_addresses.address IS 'The address, in lower case: lower(email COLLATE "C").';
COMMENT ON COLUMN reserved_addresses.user_id IS 'The account. NULL in a row that a sign-up has written.';
COMMENT ON COLUMN reserved_addresses.expires_at IS
    'When the reservation expires. A row for an address that an account has just got expires after some seconds, when no statement can miss the account.';

CREATE TABLE account_deletions (
    user_id      bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_hash   bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    requested_at timestamptz NOT NULL DEFAULT now(),
    erase_at     timestamptz NOT NULL
);
CREATE INDEX account_deletions_erase_at_idx ON account_deletions (erase_at);

COMMENT ON TABLE account_deletions IS 'Accounts whose users have deleted them. Nobody can sign in to them, and `sweep` will erase them.';
COMMENT ON COLUMN account_deletions.user_id IS 'The user.';
COMMENT ON COLUMN account_deletions.token_hash IS 'The SHA-256 of the token that keeps the account. Only the mail contains the token.';
COMMENT ON COLUMN account_deletions.requested_at IS 'When the user deleted the account.';
COMMENT ON COLUMN account_deletions.erase_at IS 'When `sweep` may erase the account.';
