//! The database of the service that this one replaces: its tables, its accounts, and the statements it runs.

use tests::{Person, Stack, database::TestDatabase};
use tokio_postgres::{Client, Error};

/// How the old service's tables were created. The two ways differ in defaults and foreign keys.
#[derive(Debug, Clone, Copy)]
pub enum OldSchema {
    /// By an SQL script.
    Script,
    /// By `SQLAlchemy`'s `create_all()`.
    CreateAll,
}

pub const OLD_SCHEMAS: [OldSchema; 2] = [OldSchema::Script, OldSchema::CreateAll];

const SCRIPT: &str = "
    CREATE TABLE users (
        id SERIAL PRIMARY KEY,
        name VARCHAR(100) NOT NULL,
        email VARCHAR(120) UNIQUE NOT NULL,
        password VARCHAR(255) NOT NULL,
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE reset_tokens (
        id SERIAL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
        token VARCHAR(100) UNIQUE NOT NULL,
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
        expires_at TIMESTAMP NOT NULL
    );
    CREATE TABLE revoked_tokens (
        id SERIAL PRIMARY KEY,
        jti VARCHAR(120) UNIQUE NOT NULL,
        revoked_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE refresh_tokens (
        id SERIAL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
        token VARCHAR(1000) UNIQUE NOT NULL,
        expires_at TIMESTAMP NOT NULL
    );";

/// The statements of `create_all()` of `SQLAlchemy` 2.1.9 for the old service's models, from its log.
const CREATE_ALL: &str = "
    CREATE TABLE users (
        id SERIAL NOT NULL,
        name VARCHAR(100) NOT NULL,
        email VARCHAR(120) NOT NULL,
        password VARCHAR(255) NOT NULL,
        created_at TIMESTAMP WITHOUT TIME ZONE,
        PRIMARY KEY (id),
        UNIQUE (email)
    );
    CREATE TABLE revoked_tokens (
        id SERIAL NOT NULL,
        jti VARCHAR(120) NOT NULL,
        revoked_at TIMESTAMP WITHOUT TIME ZONE,
        PRIMARY KEY (id),
        UNIQUE (jti)
    );
    CREATE TABLE reset_tokens (
        id SERIAL NOT NULL,
        user_id INTEGER NOT NULL,
        token VARCHAR(100) NOT NULL,
        expires_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(user_id) REFERENCES users (id),
        UNIQUE (token)
    );
    CREATE TABLE refresh_tokens (
        id SERIAL NOT NULL,
        user_id INTEGER NOT NULL,
        token VARCHAR(1000) NOT NULL,
        expires_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(user_id) REFERENCES users (id),
        UNIQUE (token)
    );";

/// An account of the old service.
#[derive(Debug, Clone, Copy)]
pub struct OldUser {
    pub name: &'static str,
    pub email: &'static str,
    pub password: &'static str,
    /// Created by `generate_password_hash(password, method)` of Werkzeug 3.1.9.
    pub hash: &'static str,
}

/// An old user. The hash is of Werkzeug's default, `method="scrypt"`.
pub const ADA: OldUser = OldUser {
    name: "Ada",
    email: "Ada@example.com",
    password: "old scrypt password",
    hash: "scrypt:32768:8:1$Mjt1f5QbxCUMIfBB$7f9dbe375aa601cbb8eaaa65d065b0f1648b3bf84e703881fe11e4421c0e0f3c\
           7d0ff980e11cce25590a8706df6de76f667e75bde88c87903e2db1973a1f240c",
};

/// An old user. The hash is of Werkzeug's `method="pbkdf2:sha256"`.
pub const GRACE: OldUser = OldUser {
    name: "Grace",
    email: "grace@example.com",
    password: "old pbkdf2 password",
    hash: "pbkdf2:sha256:1000000$0EdxAhrY7EMHHWv6$34b32df588127493776f31854748ebbd067b5ecf5ce3a94453a809cfe92825ce",
};

/// A user who signs up at the old service while both services run. The hash is of `method="scrypt"`.
pub const LINUS: OldUser = OldUser {
    name: "Linus",
    email: "linus@example.com",
    password: "correct horse battery staple",
    hash: "scrypt:32768:8:1$EtPOnz4yshMWeT2U$c6ad14c81ce1a34e49198dce74ba337ae65b61be1e95c90fb7939b3dda89d7fb\
           f2d8124db6dac5e9c2f78f986806e094a45d8f1ae93ab18664820174749a2233",
};

/// The number of accounts besides Ada's and Grace's.
const OTHER_USERS: i64 = 1000;
/// The number of accounts in a filled database.
pub const OLD_USER_COUNT: i64 = OTHER_USERS + 2;
/// The ids of Ada and Grace. The other accounts are between them, and ten of those were deleted, so the ids have a gap.
pub const ADA_AND_GRACE_IDS: [i64; 2] = [1, 1012];

impl OldSchema {
    /// Creates a database with the old service's tables and no rows.
    pub async fn empty_database(self) -> TestDatabase {
        let database = TestDatabase::empty().await;
        let tables = match self {
            Self::Script => SCRIPT,
            Self::CreateAll => CREATE_ALL,
        };
        database.connect().await.batch_execute(tables).await.expect("the old tables are created");
        database
    }

    /// Creates a database with accounts, refresh tokens, reset tokens and revoked tokens.
    pub async fn filled_database(self) -> TestDatabase {
        let database = self.empty_database().await;
        let client = database.connect().await;
        self.sign_up(&client, ADA).await.expect("Ada signs up");
        let rows = "
            INSERT INTO users (name, email, password, created_at)
            SELECT 'User ' || i, 'User' || i || '@example.com', 'scrypt:32768:8:1$salt$' || repeat('0', 128), now()
            FROM generate_series(1, 1010) AS i;
            DELETE FROM users WHERE id BETWEEN 500 AND 509;
            INSERT INTO refresh_tokens (user_id, token, expires_at) VALUES (1, 'a refresh token', now() + interval '7 days');
            INSERT INTO reset_tokens (user_id, token, expires_at) VALUES (2, 'a reset token', now() + interval '1 hour');
            INSERT INTO revoked_tokens (jti, revoked_at) VALUES ('a jti', now());";
        client.batch_execute(rows).await.expect("the rows are inserted");
        self.sign_up(&client, GRACE).await.expect("Grace signs up");
        database
    }

    /// Runs the INSERT of the old service's sign-up, and returns the new id.
    pub async fn sign_up(self, client: &Client, user: OldUser) -> Result<i64, Error> {
        let insert = match self {
            Self::Script => "INSERT INTO users (name, email, password) VALUES ($1, $2, $3) RETURNING id::bigint",
            Self::CreateAll => {
                "INSERT INTO users (name, email, password, created_at)
                 VALUES ($1, $2, $3, now() AT TIME ZONE 'utc') RETURNING users.id::bigint"
            }
        };
        Ok(client.query_one(insert, &[&user.name, &user.email, &user.hash]).await?.get(0))
    }

    /// Runs the DELETE of an account. The tables of the script cascade. `SQLAlchemy` deletes the rows that refer to the account first.
    pub async fn delete(self, client: &Client, user: OldUser) -> Result<u64, Error> {
        if let Self::CreateAll = self {
            for table in ["reset_tokens", "refresh_tokens"] {
                let delete = format!("DELETE FROM {table} WHERE user_id IN (SELECT id FROM users WHERE email = $1)");
                client.execute(&delete, &[&user.email]).await?;
            }
        }
        client.execute("DELETE FROM users WHERE email = $1", &[&user.email]).await
    }
}

impl OldUser {
    /// This user as a client of the new service.
    pub fn as_person(self, stack: &Stack) -> Person<'_> {
        stack.stranger(self.name).with_email(self.email).with_password(self.password)
    }

    /// The hash that is stored for this user.
    pub async fn stored_hash(self, stack: &Stack) -> String {
        stack.sql_text(&format!("SELECT password FROM users WHERE email = '{}'", self.email)).await
    }
}
