-- All changes are instant, and code from before this migration still works.
--
-- A change of the address sends notices that are still owed to the earlier address. Their kind then ends with the id of the change, so that a later
-- notice does not replace them.
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox
    ADD CONSTRAINT outbox_kind_check CHECK (
        kind IN (
            'password_reset', 'password_changed', 'verification', 'sign_up_attempted', 'email_change', 'email_change_requested', 'account_deleted'
        )
        OR kind LIKE 'password_changed %'
        OR kind LIKE 'email_change_requested %'
        OR kind LIKE 'email_changed %'
        OR kind LIKE 'email_restored %'
    ) NOT VALID;

-- A reset token works only while the account has the address and the credential version for which it was requested. In a row from before this migration,
-- both are NULL, and the token works whatever they are.
ALTER TABLE password_resets
    ADD COLUMN email text,
    ADD COLUMN credential_version integer;

COMMENT ON COLUMN password_resets.email IS 'The address that the mail was sent to. The token works only while the account has this address.';
COMMENT ON COLUMN password_resets.credential_version IS
    'The credential_version of the user when the token was requested. The token works only while the user has this version.';
