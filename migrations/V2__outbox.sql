-- The mails that are owed: each is written down by the statement that makes it due, and forgotten when SES has taken it. One row for
-- each user and kind: a newer request takes the place of an older one, as its token does.
CREATE TABLE outbox (
    user_id    integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind IN ('password_reset', 'password_changed')),
    id         uuid NOT NULL,
    page       text CHECK ((page IS NOT NULL) = (kind = 'password_reset')),
    attempts   integer NOT NULL DEFAULT 1,
    due_at     timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, kind)
);

CREATE INDEX outbox_due_at_idx ON outbox (due_at);
-- For sweeping out what has expired.
CREATE INDEX password_resets_expires_at_idx ON password_resets (expires_at);

COMMENT ON TABLE outbox IS 'The mails that are owed, until SES has taken them or nobody needs them any more.';
COMMENT ON COLUMN outbox.user_id IS 'To whom.';
COMMENT ON COLUMN outbox.kind IS 'Which mail: the link for a new password, or the notice that it was changed.';
COMMENT ON COLUMN outbox.id IS 'The attempt under way or last made: only whoever made it may say that the mail was sent.';
COMMENT ON COLUMN outbox.page IS 'Where the link leads, without its token: each attempt mints a token of its own.';
COMMENT ON COLUMN outbox.attempts IS 'How often it was attempted, or is being attempted.';
COMMENT ON COLUMN outbox.due_at IS 'When `sweep` may attempt it again.';
COMMENT ON COLUMN outbox.expires_at IS 'When it is given up.';
