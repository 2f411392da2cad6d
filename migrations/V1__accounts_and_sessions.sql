-- Accounts, their sessions, the tokens that reset their passwords, and how often all of that is attempted.
--
-- Serves three databases alike: an empty one, and both forms of the old service's, where `users` is full of people. There it
-- only adds, and adds nothing that an INSERT of the old service would have to fill: it may still be running. The function
-- `migrate` has looked at such a table before (functions/migrate/src/takeover.rs).

CREATE TABLE IF NOT EXISTS users (
    id         serial PRIMARY KEY,
    name       varchar(100) NOT NULL,
    email      varchar(254) NOT NULL,
    password   varchar(255) NOT NULL,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc')
);

-- Both are instant, however many users there are: a longer varchar and a constant default change the catalogue and no row.
-- They come first because they need the strongest lock of all: one that grew out of a weaker one, held meanwhile, could meet
-- a request of the old service that holds what we want and wants what we hold.
ALTER TABLE users
    ALTER COLUMN email TYPE varchar(254),
    ADD COLUMN credential_version integer NOT NULL DEFAULT 1;

-- One account for one address, in whatever case it is written. A table that was taken over keeps its own UNIQUE (email) too.
CREATE UNIQUE INDEX users_email_lower_key ON users (lower(email));

-- A copy of the rows alone leaves the sequence of ids behind them, and the next account would get an id that is taken. (What has no
-- sequence of its own is left alone; so is a sequence that is where it should be.)
SELECT setval(behind.sequence, behind.highest)
FROM (
    SELECT seqrelid::regclass AS sequence, (SELECT max(id) FROM users) AS highest, seqstart
    FROM pg_sequence WHERE seqrelid = to_regclass(pg_get_serial_sequence('users', 'id'))
) AS behind
WHERE behind.highest > coalesce(pg_sequence_last_value(behind.sequence), behind.seqstart - 1);

COMMENT ON TABLE users IS 'One row for each account.';
COMMENT ON COLUMN users.id IS 'The account. Tokens name it as `sub`.';
COMMENT ON COLUMN users.name IS 'What the person is called, in their own words.';
COMMENT ON COLUMN users.email IS 'Where mail to the person goes, as they wrote it. Looked up by lower(email), which is unique.';
COMMENT ON COLUMN users.password IS
    'A hash of the password: argon2id in PHC form, or one that Werkzeug made, until its owner next signs in.';
COMMENT ON COLUMN users.created_at IS 'When the account was made, in UTC. NULL where the old service did not say.';
COMMENT ON COLUMN users.credential_version IS
    'Rises with every password reset. A session that carries an older one is dead.';

-- A session is a row, and all of its life is updates of that row: every refresh changes it. fillfactor leaves a fifth of each
-- page free, so that the new version of a row lies beside the old one and no index learns of it (a HOT update), which holds only
-- while no index names a column that a refresh or a logout changes: think twice before adding one.
CREATE TABLE sessions (
    id                  uuid PRIMARY KEY,
    user_id             integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_version  integer NOT NULL,
    refresh_id          uuid NOT NULL,
    previous_refresh_id uuid,
    refreshed_at        timestamptz NOT NULL DEFAULT now(),
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz NOT NULL,
    revoked_at          timestamptz,
    source              text,
    refreshes           integer NOT NULL DEFAULT 0,
    refreshes_since     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- For the cascade when a user goes, and for finding all sessions of one.
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
-- For sweeping out what has expired.
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

COMMENT ON TABLE sessions IS
    'One row for each sign-in. A session lives while it is not revoked, not expired, and carries its user''s credential_version.';
COMMENT ON COLUMN sessions.id IS 'The session. Tokens name it as `sid`.';
COMMENT ON COLUMN sessions.user_id IS 'Who signed in.';
COMMENT ON COLUMN sessions.credential_version IS 'The version of the user''s credentials that the sign-in was checked against.';
COMMENT ON COLUMN sessions.refresh_id IS 'The `jti` of the refresh token that serves now.';
COMMENT ON COLUMN sessions.previous_refresh_id IS
    'The `jti` of the one before it, which may ask for its successor again for a moment. NULL until the first refresh.';
COMMENT ON COLUMN sessions.refreshed_at IS 'When the refresh token that serves now was issued.';
COMMENT ON COLUMN sessions.created_at IS 'When the person signed in.';
COMMENT ON COLUMN sessions.expires_at IS 'When the session ends by itself. A refresh does not move it.';
COMMENT ON COLUMN sessions.revoked_at IS
    'When the session was ended, by a logout or because a used refresh token came back. NULL while it was not.';

COMMENT ON COLUMN sessions.source IS
    'The network the sign-in came from: an IPv4 address, or the /64 of an IPv6 one. From there it may sign in while others may not.';
COMMENT ON COLUMN sessions.refreshes IS 'How often the session was refreshed since refreshes_since.';
COMMENT ON COLUMN sessions.refreshes_since IS 'When its refreshes began to be counted: a minute is as far as that goes.';

-- One row for each user, by the primary key: a newer request takes the place of an older one, which is void from then on.
CREATE TABLE password_resets (
    user_id    integer PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

COMMENT ON TABLE password_resets IS 'The one reset token of a user that serves, if any. Using it deletes the row.';
COMMENT ON COLUMN password_resets.user_id IS 'Whose password it resets.';
COMMENT ON COLUMN password_resets.token_hash IS 'The SHA-256 of the token. The token itself is in the mail and nowhere else.';
COMMENT ON COLUMN password_resets.created_at IS 'When it was asked for.';
COMMENT ON COLUMN password_resets.expires_at IS 'When it stops serving.';

-- A counter is one hot row: half of each page stays free for its next versions, and no index names a column that counting
-- changes, so that its updates stay HOT.
CREATE TABLE throttle (
    key           bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    attempts      integer NOT NULL,
    blocked_until timestamptz,
    expires_at    timestamptz NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE throttle IS 'How often something was attempted lately. A row past its time counts for nothing.';
COMMENT ON COLUMN throttle.key IS
    'The SHA-256 of what is counted: a kind of attempt, and whose (an account, a source, or both). No address can be read from it.';
COMMENT ON COLUMN throttle.attempts IS 'How many attempts were let through.';
COMMENT ON COLUMN throttle.blocked_until IS 'Until then no attempt is let through, and none moves it. NULL while all are.';
COMMENT ON COLUMN throttle.expires_at IS 'When the row stops counting.';
