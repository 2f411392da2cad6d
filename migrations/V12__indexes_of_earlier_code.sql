-- Drops two indexes that only code from before V3 and V4 needed: a later index begins with the same columns, or compares the same addresses. Each sign-up
-- and sign-in wrote to both. PostgreSQL drops an index at once, but waits until no statement uses its table.
DROP INDEX IF EXISTS sessions_user_id_idx, users_email_lower_key;
