//! SQL statements as values.

use tokio_postgres::types::Type;

/// A statement with `N` parameters.
pub(super) struct Statement<const N: usize> {
    /// The SQL, with `$1` to `$N` for its parameters.
    pub(super) sql: &'static str,
    /// The types of the parameters.
    pub(super) types: [Type; N],
}

/// A statement with any number of parameters.
pub trait AnyStatement: Sync {
    /// The SQL.
    fn sql(&self) -> &'static str;
    /// The types of its parameters.
    fn types(&self) -> &[Type];
}

impl<const N: usize> AnyStatement for Statement<N> {
    fn sql(&self) -> &'static str {
        self.sql
    }

    fn types(&self) -> &[Type] {
        &self.types
    }
}
