-- Addresses are compared by the case of ASCII letters, whatever collation the database has. `lower(email)` follows the database: where it
-- folds as Turkish does, INFO@… and info@… were two accounts. Under the collation C, lower() knows ASCII and nothing else.
--
-- The index of V1 stays for the functions that were deployed before this. Once they are gone, a later migration may drop it.
CREATE UNIQUE INDEX users_email_ascii_key ON users (lower(email COLLATE "C"));

COMMENT ON COLUMN users.email IS
    'Where mail to the person goes, as they wrote it. Looked up by lower(email COLLATE "C"), which is unique.';
