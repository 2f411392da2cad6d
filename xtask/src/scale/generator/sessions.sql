-- Sessions $1 to $2 of $3 in all, of which $4 are live. They belong to random ones of the users 1 to $5, and live for $6 seconds. They were opened at
-- random times, so that they expire one after another, but none in the first hour, in which the measurement runs. Of those that are not live, a
-- password reset has ended the ones of users with a higher credential version, and a logout the others. A third of the sources are IPv6 networks.
INSERT INTO sessions (
    id, user_id, credential_version, refresh_id, previous_refresh_id, refreshed_at, created_at, expires_at, revoked_at, source, refreshes,
    refreshes_since
)
SELECT gen_random_uuid(), user_id,
    CASE WHEN is_live OR user_id % 10 <> 0 THEN 1 + (user_id % 10 = 0)::integer ELSE 1 END,
    gen_random_uuid(),
    CASE WHEN is_refreshed THEN gen_random_uuid() END,
    refreshed_at, created_at,
    date_trunc('second', created_at) + $6::float8 * interval '1 second',
    CASE WHEN NOT is_live AND user_id % 10 <> 0 THEN refreshed_at END,
    CASE WHEN n % 3 = 0
        THEN '2001:db8:' || to_hex(1 + n % 65535) || ':' || to_hex(1 + n / 65535 % 65535) || '::/64'
        ELSE host('10.0.0.0'::inet + n * 7919 % 16777216)
    END,
    is_refreshed::integer, refreshed_at
FROM (
    SELECT n, 1 + floor(random() * $5::bigint)::bigint AS user_id,
        n * $4::bigint / $3::bigint <> (n - 1) * $4::bigint / $3::bigint AS is_live,
        random() < 0.7 AS is_refreshed,
        random() * ($6::float8 - 3600) AS age, random() AS unused
    FROM generate_series($1::bigint, $2::bigint) AS n
    OFFSET 0 -- Otherwise PostgreSQL computes a random number again wherever it is used.
) AS drawn
    CROSS JOIN LATERAL (SELECT
        now() - age * interval '1 second' AS created_at,
        now() - age * CASE WHEN is_refreshed THEN unused ELSE 1 END * interval '1 second' AS refreshed_at
    ) AS times
