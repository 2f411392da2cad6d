-- Accounts $1 to $2, whose password has the hash $3. A tenth has reset the password once: those whose id ends in 0.
INSERT INTO users (id, name, email, password, created_at, credential_version)
SELECT n, given || ' ' || family,
    lower(given || '.' || family) || n || '@' || (ARRAY['example.com', 'mail.example.net', 'university.example.org'])[1 + n % 3],
    $3,
    now() AT TIME ZONE 'utc' - random() * interval '3 years',
    1 + (n % 10 = 0)::integer
FROM generate_series($1::bigint, $2::bigint) AS n
    CROSS JOIN LATERAL (SELECT
        (ARRAY['Ada', 'Chidi', 'Elif', 'Joaquin', 'Kate', 'Mei', 'Oluwaseun', 'Priya', 'Sofia', 'Tomasz'])[1 + n % 10] AS given,
        (ARRAY['Brown', 'Fernandes', 'Ito', 'Kowalska', 'Nguyen', 'Okafor', 'Yilmaz'])[1 + n % 7] AS family
    ) AS names
