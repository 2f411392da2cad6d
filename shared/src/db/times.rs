//! Reading times from rows.

use std::{error::Error, time::SystemTime};

use tokio_postgres::types::{FromSql, Type};

use crate::domain::UnixTime;

/// Reads a `timestamptz`, or a `timestamp`, which is in UTC: the second in which it lies. Statements return times as PostgreSQL stores them, because a
/// conversion in SQL takes longer, above all on a new connection.
impl FromSql<'_> for UnixTime {
    fn from_sql(type_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        SystemTime::from_sql(type_, raw).map(Self::from)
    }

    fn accepts(type_: &Type) -> bool {
        <SystemTime as FromSql>::accepts(type_)
    }
}
