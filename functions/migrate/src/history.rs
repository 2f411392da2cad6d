//! The history of applied migrations.

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{
    catalog,
    error::{DatabaseError, Error},
    migrations::{MIGRATIONS, Migration},
    transaction::Transaction,
};

/// The table of applied migrations. Its name and its columns are those of the crate refinery, which earlier releases of `migrate` used.
pub const TABLE: &str = "refinery_schema_history";

const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS refinery_schema_history(
        version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255))";

const APPLIED: &str = "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version";

/// The time is in the format of RFC 3339, which earlier releases of `migrate` read.
const RECORD: &str = r#"
    INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
    VALUES ($1, $2, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), $3)"#;

/// The migrations that were applied, in order.
pub struct History(Vec<Applied>);

struct Applied {
    version: i32,
    name: String,
    checksum: u64,
}

impl History {
    /// Reads the table. The history is empty if there is no table.
    ///
    /// # Errors
    /// If the table is empty, if a value is not of its kind, or if PostgreSQL reports an error.
    pub async fn read(transaction: &Transaction<'_>) -> Result<Self, DatabaseError> {
        if catalog::kind(transaction, TABLE).await?.is_none() {
            return Ok(Self(Vec::new()));
        }
        let applied = transaction.query(APPLIED, &[]).await?;
        if applied.is_empty() {
            return Err(DatabaseError::invalid_history());
        }
        applied.iter().map(Applied::from_row).collect::<Result<_, _>>().map(Self)
    }

    /// The version of the schema. `None` if no migration was ever applied.
    pub fn version(&self) -> Option<i32> {
        self.0.last().map(|applied| applied.version)
    }

    /// Applies the migrations up to this version that were not applied before, and records them. Returns them. The version of the schema must not be
    /// newer than the newest migration.
    ///
    /// # Errors
    /// If other migrations than those of this function were applied, if one is missing before a later one, or if PostgreSQL reports an error.
    pub async fn apply_up_to(
        self,
        target: i32,
        transaction: &Transaction<'_>,
    ) -> Result<Vec<&'static Migration>, Error> {
        for (applied, migration) in self.0.iter().zip(MIGRATIONS) {
            if applied.version != migration.version {
                return Err(DatabaseError::invalid_history().into());
            }
            if (applied.name.as_str(), applied.checksum) != (migration.name, migration.checksum) {
                return Err(Error::HistoryDiffers(format!("V{}__{}", applied.version, applied.name)));
            }
        }
        transaction.execute(CREATE).await?;
        let waiting = MIGRATIONS.iter().skip(self.0.len()).take_while(|migration| migration.version <= target);
        let waiting = waiting.collect::<Vec<_>>();
        for migration in &waiting {
            transaction
                .execute(migration.sql)
                .await
                .map_err(|problem| problem.in_file(format_args!("{migration}.sql")))?;
            let checksum = migration.checksum.to_string();
            let values: [(&(dyn ToSql + Sync), Type); 3] =
                [(&migration.version, Type::INT4), (&migration.name, Type::VARCHAR), (&checksum, Type::VARCHAR)];
            transaction.query(RECORD, &values).await?;
        }
        Ok(waiting)
    }
}

impl Applied {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let version = row.try_get("version")?;
        let name: Option<String> = row.try_get("name")?;
        let checksum = row.try_get::<_, Option<&str>>("checksum")?.and_then(|checksum| checksum.parse().ok());
        let (name, checksum) = name.zip(checksum).ok_or_else(DatabaseError::invalid_history)?;
        Ok(Self { version, name, checksum })
    }
}
