-- Sign-in asks whether an account has a live session from one source. Neither column ever changes, so updates of a session stay HOT.
--
-- Requests that change a session wait while the index is made: some seconds for millions of sessions. Where that is too long, make it before,
-- with CREATE INDEX CONCURRENTLY and the same name, and look into pg_index whether it is valid. The index of V1 on user_id alone stays for the
-- functions that were deployed before this. A later migration may drop it.
CREATE INDEX IF NOT EXISTS sessions_user_id_source_idx ON sessions (user_id, source);
