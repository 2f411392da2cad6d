-- Sign-in asks whether an account has a live session from one source, and lists the account's sessions to keep them at fifty. One index
-- serves both, the foreign key's cascade among them. Neither column ever changes, so updates of a session stay HOT.
--
-- A table of many sessions takes some seconds to index, and sign-ins wait meanwhile. Where that is too long, make the index before, with
-- CREATE INDEX CONCURRENTLY and the same name.
CREATE INDEX IF NOT EXISTS sessions_user_id_source_idx ON sessions (user_id, source);
DROP INDEX sessions_user_id_idx;
