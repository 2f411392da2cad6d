-- Drops two indexes that only code from before V3 and V4 needed: a later index begins with the same columns, or compares the same addresses. Each sign-up
-- wrote to one of them, and each sign-in to the other. Dropping an index reads no rows. But statements on both tables wait until `migrate` has committed.
DROP INDEX IF EXISTS sessions_user_id_idx, users_email_lower_key;
