-- The mails $1 to $2 of $3 in the outbox, to users that are spread evenly over the ids 1 to $4. A quarter are notices of a changed password. The
-- others are reset mails, whose users have a reset token. They are due in an hour and expire later, so that `sweep` sends none before the measurement
-- makes them due.
WITH mails AS (
    SELECT 1 + (n - 1) * $4::bigint / $3::bigint AS user_id,
        CASE WHEN n % 4 = 0 THEN 'password_changed' ELSE 'password_reset' END AS kind,
        random() AS age
    FROM generate_series($1::bigint, $2::bigint) AS n
    ORDER BY random()
), resets AS (
    INSERT INTO password_resets (user_id, token_hash, created_at, expires_at)
    SELECT user_id, sha256(uuid_send(gen_random_uuid())), now(), now() + interval '2 hours' FROM mails WHERE kind = 'password_reset'
)
INSERT INTO outbox (user_id, kind, id, page, attempts, due_at, expires_at)
SELECT user_id, kind, gen_random_uuid(),
    CASE WHEN kind = 'password_reset' THEN 'https://api.example.com/reset-password' END,
    1 + floor(age * 6)::integer,
    now() + interval '1 hour' + random() * interval '10 minutes',
    CASE WHEN kind = 'password_reset' THEN now() + interval '2 hours' ELSE now() + interval '2 hours' + random() * interval '3 days' END
FROM mails
