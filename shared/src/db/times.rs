//! Reading times from rows.

use std::{error::Error, time::SystemTime};

use tokio_postgres::types::{FromSql, Type};

use crate::domain::UnixTime;

/// Statements return times as PostgreSQL stores them, because this costs less than a conversion in SQL. A `timestamp` is read as UTC. Fractions of a
/// second are dropped.
impl FromSql<'_> for UnixTime {
    fn from_sql(type_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        SystemTime::from_sql(type_, raw).map(Self::from)
    }

    fn accepts(type_: &Type) -> bool {
        <SystemTime as FromSql>::accepts(type_)
    }
}
