-- Counters of failed sign-ins $1 to $2. Odd ones count the failures of an account, even ones those of an account and a source together, for the users
-- 1 to $3 in turn. None is so high that a sign-in has to wait. A counter of an account expires within 432 minutes for each failure, another one within
-- six hours (SIGNIN_MEMORY_OF_ACCOUNT and SIGNIN_MEMORY in policy.rs). None expires in the first hour, in which the measurement runs.
INSERT INTO throttle (key, attempts, expires_at)
SELECT sha256(convert_to(
        CASE WHEN n % 2 = 1
            THEN 'signin account user ' || user_id || ' ' || credential_version || CASE WHEN n > 2 * $3::bigint THEN ' old ' || n ELSE '' END
            ELSE 'signin both 10.' || n / 65536 % 256 || '.' || n / 256 % 256 || '.' || n % 256 || ' user ' || user_id || ' ' || credential_version
        END,
        'UTF8'
    )),
    CASE WHEN n % 2 = 1 THEN failures ELSE 1 + failures % 4 END,
    now() + interval '1 hour' + random() * CASE WHEN n % 2 = 1 THEN failures * interval '432 minutes' - interval '1 hour' ELSE interval '5 hours' END
FROM (
    SELECT n, 1 + (n - 1) / 2 % $3::bigint AS user_id, 1 + floor(random() * 20)::integer AS failures
    FROM generate_series($1::bigint, $2::bigint) AS n
    OFFSET 0 -- Otherwise PostgreSQL computes a random number again wherever it is used.
) AS drawn
    CROSS JOIN LATERAL (SELECT 1 + (user_id % 10 = 0)::integer AS credential_version) AS version
