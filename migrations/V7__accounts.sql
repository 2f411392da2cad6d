-- The language of an account, whether its address is verified, and when the user of a session last signed in or reauthenticated. All changes are instant, and
-- code from before this migration does not use the columns.
--
-- After this migration, run grants.sql again, unless the function `migrate` has FUNCTIONS_ROLE and does it.
ALTER TABLE users
    ADD COLUMN locale text,
    ADD COLUMN email_verified_at timestamptz;

ALTER TABLE sessions
    ADD COLUMN auth_time timestamptz,
    ADD COLUMN user_agent text;

COMMENT ON COLUMN users.locale IS
    'The language of mails to the user: en, de, fr or es. If it is NULL, the default language is used.';
COMMENT ON COLUMN users.email_verified_at IS 'When the user proved that the mailbox is theirs. NULL if they have not.';
COMMENT ON COLUMN sessions.auth_time IS
    'When the user of the session last signed in or reauthenticated. NULL for sessions from before this column. Then created_at counts.';
COMMENT ON COLUMN sessions.user_agent IS
    'The User-Agent header of the request that opened the session, at most 256 characters. NULL if there was none.';

-- The comments of earlier migrations, in plainer words.
COMMENT ON COLUMN users.name IS 'The name of the user, as they wrote it.';
COMMENT ON COLUMN users.email IS
    'The address of the user, as they wrote it. It is looked up by lower(email COLLATE "C"), which is unique.';
COMMENT ON COLUMN users.password IS
    'A hash of the password: argon2id in PHC form, or a hash of the old service until the user next signs in.';
COMMENT ON COLUMN users.created_at IS 'When the account was created, in UTC. NULL if the old service did not record it.';
COMMENT ON COLUMN users.credential_version IS
    'Each change of the password increases it by one. A session that was opened under a lower version has ended.';
COMMENT ON TABLE sessions IS
    'One row for each session. A session is live while it is not revoked, has not expired, and has its user''s credential_version.';
COMMENT ON COLUMN sessions.user_id IS 'The user who signed in.';
COMMENT ON COLUMN sessions.credential_version IS 'The credential_version of the user when the session was opened.';
COMMENT ON COLUMN sessions.refresh_id IS 'The `jti` of the current refresh token.';
COMMENT ON COLUMN sessions.previous_refresh_id IS
    'The `jti` of the refresh token before the current one. For some seconds, a client that presents it gets the current one again. NULL until the first refresh.';
COMMENT ON COLUMN sessions.refreshed_at IS 'When the current refresh token was issued.';
COMMENT ON COLUMN sessions.created_at IS 'When the session was opened.';
COMMENT ON COLUMN sessions.expires_at IS 'When the session expires. A refresh does not change it.';
COMMENT ON COLUMN sessions.revoked_at IS
    'When the session was ended by its user, or because an old refresh token was used again. NULL if it was not.';
COMMENT ON COLUMN sessions.source IS
    'The network that the session was opened from: an IPv4 address, or the /64 network of an IPv6 address.';
COMMENT ON COLUMN sessions.refreshes IS 'The number of refreshes since refreshes_since.';
COMMENT ON COLUMN sessions.refreshes_since IS 'When the counting of refreshes began. It begins again after a minute.';
COMMENT ON TABLE password_resets IS 'The reset token of a user. A newer one replaces it.';
COMMENT ON COLUMN password_resets.user_id IS 'The user.';
COMMENT ON COLUMN password_resets.token_hash IS 'The SHA-256 of the token. Only the mail contains the token.';
COMMENT ON COLUMN password_resets.created_at IS 'When the token was created.';
COMMENT ON COLUMN password_resets.expires_at IS 'When the token expires.';
COMMENT ON TABLE throttle IS 'Counters of attempts. An expired row counts nothing.';
COMMENT ON COLUMN throttle.key IS
    'The SHA-256 of the name of the counter: the kind of attempt, with the account, the source, both, or the session. It contains no readable address.';
COMMENT ON COLUMN throttle.attempts IS 'The number of attempts that were counted. Refused attempts are not counted.';
COMMENT ON COLUMN throttle.blocked_until IS 'No attempt is allowed before this time. NULL if there is no wait.';
COMMENT ON COLUMN throttle.expires_at IS 'When the counter expires.';
COMMENT ON TABLE outbox IS 'Mails that must be sent. A row is deleted when SES has accepted or refused its mail, or when it expires.';
COMMENT ON COLUMN outbox.user_id IS 'The recipient.';
COMMENT ON COLUMN outbox.kind IS 'The kind of mail: the link to reset the password, or the notice that the password was changed.';
COMMENT ON COLUMN outbox.id IS 'The id of the latest attempt to send the mail. Only this attempt may delete the row.';
COMMENT ON COLUMN outbox.page IS 'The page that the link leads to, without the token, because each attempt creates a new token.';
COMMENT ON COLUMN outbox.attempts IS 'The number of attempts to send the mail, including a running one.';
COMMENT ON COLUMN outbox.due_at IS 'When `sweep` may try again to send the mail.';
COMMENT ON COLUMN outbox.expires_at IS 'When `sweep` gives the mail up.';
