-- User ids get 64 bits. Existing ids keep their values.
--
-- This rewrites the four tables, and requests wait meanwhile. If a view uses one of the columns, PostgreSQL refuses the change: drop the view
-- before, and create it again afterwards.
--
-- Code from before this migration reads these columns as 32 bits and fails. So `migrate` applies it to new databases only, and the next release
-- applies it to all others (POSTPONED in functions/migrate/src/main.rs). The code of this release reads both.
ALTER TABLE users ALTER COLUMN id TYPE bigint;
ALTER TABLE sessions ALTER COLUMN user_id TYPE bigint;
ALTER TABLE password_resets ALTER COLUMN user_id TYPE bigint;
ALTER TABLE outbox ALTER COLUMN user_id TYPE bigint;

-- A sequence of 32 bits would end at 2147483647. A table that was taken over may have a sequence of another name, which is left alone.
ALTER SEQUENCE IF EXISTS users_id_seq AS bigint;
