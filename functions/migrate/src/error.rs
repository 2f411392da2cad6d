//! Every reason for which an invocation fails, in words for whoever deploys: what is wrong, and what to do.
//!
//! No message holds an address, a password or the database's URL.

use std::{fmt, time::Duration};

use lambda_runtime::Diagnostic;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum Error {
    /// The payload is not understood.
    #[error(r#"the payload must be {{}} or {{"finish": true}}: {0}"#)]
    Payload(String),
    /// There is no connection to be had.
    #[error("the database cannot be reached ({0}): check DATABASE_URL and the way there, then run this again")]
    Unreachable(String),
    /// The database cannot hold every text.
    #[error(
        "the database's encoding is {0}, and names and addresses need UTF8. Dump it (pg_dump), make another one \
         (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0), restore the dump there, and point DATABASE_URL at it"
    )]
    NotUtf8(String),
    /// The connection's search path leads nowhere.
    #[error("there is no schema to make tables in: set one with ALTER ROLE … SET search_path, then run this again")]
    NoSchema,
    /// Tables are seen in one schema, and would be made in another.
    #[error(
        "this connection sees {} but would make new tables in the schema {current}: \
         set its search_path so that all are in one schema, then run this again",
        elsewhere.join(", ")
    )]
    TwoSchemas {
        /// Where new tables would go.
        current: String,
        /// The tables that are not there.
        elsewhere: Vec<String>,
    },
    /// A later version of this function was here.
    #[error(
        "the schema is at version {found} and this function knows versions up to {known}: \
         deploy the function that goes with the schema"
    )]
    SchemaIsNewer {
        /// The version of the database.
        found: i32,
        /// The newest version this function knows.
        known: i32,
    },
    /// What the database has seen is not what this function has.
    #[error(
        "{0}: a migration that was applied must never change. Put the file back as it was, and write a new one \
         for what should be different (migrations/README.md)"
    )]
    HistoryDiffers(String),
    /// A name the first migration needs belongs to something else.
    #[error(
        "there is {kind} named {name} already, which is not ours: rename it, or give this service a schema of its own"
    )]
    NameTaken {
        /// The name.
        name: &'static str,
        /// What has it.
        kind: &'static str,
    },
    /// There is a `users` that is not the old service's.
    #[error("users is not a table this service can take over: {} (docs/taking-over.md)", .0.join("; "))]
    UsersNotRecognised(
        /// What differs.
        Vec<String>,
    ),
    /// Accounts that would be one.
    #[error(
        "some users have the same address but for upper and lower case, and each address may have one account: ids {}{}. \
         Change or delete all but one of each, then run this again (docs/taking-over.md)",
        groups(named),
        and_more(*unnamed)
    )]
    SharedAddresses {
        /// The ids of each group, of the first groups.
        named: Vec<Vec<i64>>,
        /// How many groups there are besides.
        unnamed: usize,
    },
    /// The old service's tables are in use as long as the schema is not ours.
    #[error("there are migrations to apply before anything can be finished: run this with {{}} first, and cut over")]
    FinishBeforeMigrate,
    /// A table has the name of one of the old service's.
    #[error(
        "{table} is not the old service's, so nothing was dropped: {}. \
         Rename or drop it yourself, then run this again",
        differences.join("; ")
    )]
    NotTheOldServices {
        /// The table.
        table: &'static str,
        /// What differs.
        differences: Vec<String>,
    },
    /// Another invocation is at work.
    #[error("another migrate has been at work for a minute: wait until it has finished, then run this again")]
    AnotherMigrates,
    /// Somebody holds what we need.
    #[error(
        "waited {attempts} times two seconds for a lock, in vain: {}. End what holds it, then run this again",
        held(holders)
    )]
    Busy {
        /// How often we tried.
        attempts: u32,
        /// Tables and the server processes that hold a lock on them.
        holders: Vec<(String, i32)>,
    },
    /// All of it took too long.
    #[error("not done within {0:?}: run this again when the database has less to do")]
    Deadline(Duration),
    /// PostgreSQL refused.
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

fn held(holders: &[(String, i32)]) -> String {
    if holders.is_empty() {
        return "users, or a table of the old service's, was locked all the time, though it is free now".to_owned();
    }
    let holder = |(table, pid): &(String, i32)| format!("{table} is locked by process {pid} (pg_stat_activity)");
    holders.iter().map(holder).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// A stable name for the log and for a script that invokes this.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Payload(_) => "Payload",
            Self::Unreachable(_) => "Unreachable",
            Self::NotUtf8(_) => "NotUtf8",
            Self::NoSchema => "NoSchema",
            Self::TwoSchemas { .. } => "TwoSchemas",
            Self::SchemaIsNewer { .. } => "SchemaIsNewer",
            Self::HistoryDiffers(_) => "HistoryDiffers",
            Self::NameTaken { .. } => "NameTaken",
            Self::UsersNotRecognised(_) => "UsersNotRecognised",
            Self::SharedAddresses { .. } => "SharedAddresses",
            Self::FinishBeforeMigrate => "FinishBeforeMigrate",
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

impl From<refinery::Error> for Error {
    /// Refinery wraps a cause once or twice, depending on where it failed. What has no cause is about the history.
    fn from(error: refinery::Error) -> Self {
        let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        match causes.find_map(|cause| cause.downcast_ref::<DatabaseError>()) {
            Some(cause) => Self::Database(cause.clone()),
            None => Self::HistoryDiffers(error.to_string()),
        }
    }
}

/// What PostgreSQL said, as far as it may be repeated.
#[derive(Debug, Clone)]
pub struct DatabaseError {
    code: Option<SqlState>,
    message: String,
    advice: &'static str,
}

impl DatabaseError {
    /// The table of what was applied holds something that refinery never wrote.
    pub fn history() -> Self {
        Self {
            code: None,
            message: "refinery_schema_history holds something that no migration wrote".to_owned(),
            advice: "restore it from a backup, then run this again",
        }
    }

    /// Whether a lock did not come free in time.
    pub fn is_lock_timeout(&self) -> bool {
        self.code == Some(SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether somebody else was in the way, and a second try may find them gone. A unique violation is one of these: an
    /// account that came in between our look at the addresses and their index, which the next look will find; or a table
    /// that somebody else was making at the same time.
    pub fn is_contention(&self) -> bool {
        let contention = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::UNIQUE_VIOLATION,
        ];
        self.code.as_ref().is_some_and(|code| contention.contains(code))
    }

    /// What PostgreSQL, or the connection to it, said; without advice.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let message = match error.as_db_error() {
            // The detail of a violated constraint (22, 23) quotes the row. Others name the table or view that is in the way.
            Some(db) => match db.detail().filter(|_| !["22", "23"].contains(&&db.code().code()[..2])) {
                Some(detail) => format!("{} ({detail})", db.message()),
                None => db.message().to_owned(),
            },
            None => std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": "),
        };
        let advice = match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                "DATABASE_URL must name the owner of these tables, who may also make new ones: change it, then run this again"
            }
            Some(_) => "nothing was changed; put that right, then run this again",
            // An answer that was lost may have been the one to COMMIT.
            None => "all of it was done, or nothing: run this again, it goes on from there",
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
