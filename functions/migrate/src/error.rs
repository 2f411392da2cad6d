//! The errors of an invocation. Each message tells the operator what is wrong and what to do.
//!
//! No message contains an email address, a password or the database's URL.

use std::{fmt, time::Duration};

use lambda_runtime::Diagnostic;
use shared::db::in_one_line;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// Why an invocation failed. Nothing was changed, except perhaps if the connection was lost or the deadline passed during COMMIT.
#[derive(Debug, Error)]
pub enum Error {
    /// The payload is invalid.
    #[error(r#"the payload must be {{}}, {{"verified": true}} or {{"finish": true}}: {0}"#)]
    Payload(String),
    /// No connection could be opened, for another reason than a refused login.
    #[error(
        "no connection to the database could be opened ({0}): check DATABASE_URL, the network and the server, then run migrate again"
    )]
    Unreachable(String),
    /// The server refused the login.
    #[error(
        "the database refused the login ({0}): check the user and the password in DATABASE_URL, or, if DATABASE_AUTH is `iam`, \
         whether the function's AWS role may call rds-db:connect for this user. Then run migrate again"
    )]
    LoginRefused(String),
    /// The database's encoding cannot represent every character.
    #[error(
        "the database's encoding is {0}, but names and addresses need UTF8. Dump it (pg_dump), create another database \
         (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0), restore the dump there, and set DATABASE_URL to \
         the new database"
    )]
    NotUtf8(String),
    /// The connection's search path contains no existing schema.
    #[error("there is no schema for new tables: set one with ALTER ROLE … SET search_path, then run migrate again")]
    NoSchema,
    /// The connection finds tables in one schema, but would create new ones in another.
    #[error(
        "this connection finds {} in another schema, but would create new tables in the schema {current}: \
         set search_path so that all tables are in one schema, then run migrate again",
        elsewhere.join(", ")
    )]
    TwoSchemas {
        /// The schema in which new tables would be created.
        current: String,
        /// The tables that are in another schema.
        elsewhere: Vec<String>,
    },
    /// PostgreSQL does not use some indexes.
    #[error(
        "these indexes are not valid, because CREATE INDEX CONCURRENTLY has failed or has not ended: {}. \
         If it has failed, drop each whose name ends in _ccnew or _ccold, and repair the others with REINDEX INDEX CONCURRENTLY. \
         Then run migrate again",
        .0.join(", ")
    )]
    InvalidIndexes(
        /// Their names.
        Vec<String>,
    ),
    /// A later version of this function has migrated the database.
    #[error(
        "the schema is at version {found} and this function knows versions up to {known}: \
         deploy a version of this function that knows the schema's version"
    )]
    SchemaIsNewer {
        /// The version of the database.
        found: i32,
        /// The newest version this function knows.
        known: i32,
    },
    /// The applied migrations differ from the migrations of this function.
    #[error(
        "the file of the migration {0} is not the one that was applied, but an applied migration must never change. Restore the file, and put the \
         change into a new migration (migrations/README.md)"
    )]
    HistoryDiffers(
        /// The first applied migration that differs.
        String,
    ),
    /// Another table or index has a name that the migrations need.
    #[error(
        "there is {kind} named {name} already, which this service did not create: rename it, or give this service its own schema"
    )]
    NameTaken {
        /// The name.
        name: &'static str,
        /// What kind of relation has the name.
        kind: &'static str,
    },
    /// `users` is not the old service's table.
    #[error("this service cannot take over users: {} (docs/taking-over.md)", .0.join("; "))]
    UsersNotRecognised(
        /// What differs.
        Vec<String>,
    ),
    /// Several accounts have addresses that differ only in case.
    #[error(
        "some accounts have addresses that differ only in upper and lower case, but such addresses may have only one account: ids {}{}. \
         Change or delete all but one account of each group, then run migrate again (docs/taking-over.md)",
        groups(named),
        and_more(*unnamed)
    )]
    SharedAddresses {
        /// The ids of the accounts in each of the first groups.
        named: Vec<Vec<i64>>,
        /// How many further groups there are.
        unnamed: usize,
    },
    /// Not all migrations are applied, so the old service may still use its tables.
    #[error(
        "not all migrations are applied, so the old service's tables were not dropped: \
         run migrate with the payload {{}} first, then switch to the new service"
    )]
    FinishBeforeMigrate,
    /// The payload says that the accounts of the old service are verified, but this run takes none over.
    #[error(
        r#"the payload has "verified": true, but this run takes over no accounts of the old service, because they were taken over before or \
           there are none: run migrate with the payload {{}}, and see docs/taking-over.md"#
    )]
    NothingToTakeOver,
    /// A table has the name of an old table, but other columns.
    #[error(
        "{table} is not the old service's table, so nothing was dropped: {}. \
         Rename or drop {table} yourself, then run migrate again",
        differences.join("; ")
    )]
    NotTheOldServices {
        /// The table.
        table: &'static str,
        /// What differs.
        differences: Vec<String>,
    },
    /// Another invocation is running.
    #[error(
        "another invocation of migrate has been running for a minute: wait until it has ended, then run migrate again"
    )]
    AnotherMigrates,
    /// Another transaction holds a lock that the migration needs.
    #[error(
        "did not get a lock in {attempts} attempts of two seconds ({problem}): {}. \
         End the transaction that holds the lock, then run migrate again",
        describe(holders)
    )]
    Busy {
        /// The number of attempts.
        attempts: u32,
        /// PostgreSQL's message. It begins with the file whose statement needs the lock.
        problem: String,
        /// The locked tables, each with the id of a server process that holds a lock on it.
        holders: Vec<(String, i32)>,
    },
    /// All attempts together took too long.
    #[error(
        "not done within {0:?}: either all changes were committed or none. Run migrate again when the database is less busy"
    )]
    Deadline(Duration),
    /// PostgreSQL reported an error, or the connection was lost.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

fn groups(ids: &[Vec<i64>]) -> String {
    let group = |ids: &Vec<i64>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    ids.iter().map(group).collect::<Vec<_>>().join(", ")
}

fn and_more(groups: usize) -> String {
    if groups == 0 { String::new() } else { format!(" and {groups} more such groups") }
}

fn describe(holders: &[(String, i32)]) -> String {
    if holders.is_empty() {
        return "a table was locked at each attempt, but no lock is held now".to_owned();
    }
    let holder = |(table, pid): &(String, i32)| format!("{table} is locked by process {pid} (pg_stat_activity)");
    holders.iter().map(holder).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// A stable name for the log and for scripts that invoke `migrate`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Payload(_) => "Payload",
            Self::Unreachable(_) => "Unreachable",
            Self::LoginRefused(_) => "LoginRefused",
            Self::NotUtf8(_) => "NotUtf8",
            Self::NoSchema => "NoSchema",
            Self::TwoSchemas { .. } => "TwoSchemas",
            Self::InvalidIndexes(_) => "InvalidIndexes",
            Self::SchemaIsNewer { .. } => "SchemaIsNewer",
            Self::HistoryDiffers(_) => "HistoryDiffers",
            Self::NameTaken { .. } => "NameTaken",
            Self::UsersNotRecognised(_) => "UsersNotRecognised",
            Self::SharedAddresses { .. } => "SharedAddresses",
            Self::FinishBeforeMigrate => "FinishBeforeMigrate",
            Self::NothingToTakeOver => "NothingToTakeOver",
            Self::NotTheOldServices { .. } => "NotTheOldServices",
            Self::AnotherMigrates => "AnotherMigrates",
            Self::Busy { .. } => "Busy",
            Self::Deadline(_) => "Deadline",
            Self::Database(_) => "Database",
        }
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}

/// An error of PostgreSQL or of the connection, without the parts that may contain user data.
#[derive(Debug)]
pub struct DatabaseError {
    code: Option<SqlState>,
    message: String,
    advice: &'static str,
}

impl DatabaseError {
    /// The error for a history that `migrate` cannot have written: it is empty, a migration is missing before a later one, or a value is not of its kind.
    pub fn invalid_history() -> Self {
        Self {
            code: None,
            message: "somebody changed refinery_schema_history, the list of the migrations that were applied"
                .to_owned(),
            advice: "restore the table from a backup, then run migrate again",
        }
    }

    /// The same error, with the file whose statement failed.
    pub fn in_file(self, file: impl fmt::Display) -> Self {
        Self { message: format!("{file}: {}", self.message), ..self }
    }

    /// Whether the server refused the user or the password.
    pub fn is_refused_login(&self) -> bool {
        let refused = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
        self.code.as_ref().is_some_and(|code| refused.contains(code))
    }

    /// Whether a lock was not released in time.
    pub fn is_lock_timeout(&self) -> bool {
        self.code == Some(SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether a concurrent transaction caused the error, so that another attempt may succeed.
    ///
    /// A unique violation counts, for two reasons. First: after the check of the addresses, but before the migration creates their unique index,
    /// somebody may create an account whose address differs from an existing one only in case. Creating the index then fails, and the check in
    /// the next attempt reports that account. Second: another transaction may create the same table at the same time.
    pub fn is_contention(&self) -> bool {
        let contention = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::UNIQUE_VIOLATION,
        ];
        self.code.as_ref().is_some_and(|code| contention.contains(code))
    }

    /// The message of PostgreSQL or of the connection, without advice.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            // The detail of a data error or a violated constraint (classes 22 and 23) quotes the row. Other details name the
            // table or view that prevents the statement.
            Some(db) => match db.detail().filter(|_| !["22", "23"].contains(&&db.code().code()[..2])) {
                Some(detail) => format!("{} ({detail})", db.message()),
                None => db.message().to_owned(),
            },
            None => in_one_line(&error),
        };
        let advice = match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                "DATABASE_URL must name the owner of these tables, who may create tables and, if FUNCTIONS_ROLE is set, roles: \
                 correct it, then run migrate again"
            }
            Some(_) => "nothing was changed: correct the cause, then run migrate again",
            // The lost answer may have been the answer to COMMIT.
            None => "either all changes were committed or none: run migrate again, and it applies what is missing",
        };
        Self { code: error.code().cloned(), message, advice }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.advice)
    }
}

impl std::error::Error for DatabaseError {}
