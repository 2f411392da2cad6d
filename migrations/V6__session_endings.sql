-- Sessions may be in a DynamoDB table. Then a new password must end them there, after PostgreSQL has committed it. These rows say for which users that
-- is still to be done. While sessions are in PostgreSQL, a row is kept for a day, in case the sessions are just being moved to a table. All changes are
-- instant, and code from before this migration does not use them.
ALTER TABLE password_resets ADD COLUMN redeemed_at timestamptz;

CREATE TABLE session_endings (
    user_id         bigint PRIMARY KEY,
    minimum_version integer NOT NULL,
    owed_since      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX session_endings_owed_since_idx ON session_endings (owed_since);

COMMENT ON COLUMN password_resets.redeemed_at IS
    'When the token was used, if sessions in DynamoDB must still end. The row is kept until then, so that the user can repeat the request.';
COMMENT ON TABLE session_endings IS
    'One row for each user whose sessions in DynamoDB must still end, or would have to if there were any. It has no foreign key, because it outlives the user.';
COMMENT ON COLUMN session_endings.user_id IS 'The user.';
COMMENT ON COLUMN session_endings.minimum_version IS 'The lowest credential version whose sessions stay live.';
COMMENT ON COLUMN session_endings.owed_since IS 'When the last of these changes was made.';
