//! Drops the token tables of the old service. This service uses the old `users` table, but none of the other old tables.

use crate::{
    catalog::{self, Column},
    error::Error,
    transaction::Transaction,
};

/// The columns of an old table. They distinguish it from a table of another program that has the same name.
struct OldTable {
    name: &'static str,
    columns: &'static [(&'static str, DataType)],
    /// A column that exists in only one of the two versions of the old service's schema.
    optional: Option<(&'static str, DataType)>,
}

#[derive(Clone, Copy)]
enum DataType {
    Integer,
    Varchar(u32),
    Timestamp,
}

const OLD_TABLES: [OldTable; 3] = [
    OldTable {
        name: "reset_tokens",
        columns: &[
            ("id", DataType::Integer),
            ("user_id", DataType::Integer),
            ("token", DataType::Varchar(100)),
            ("expires_at", DataType::Timestamp),
        ],
        optional: Some(("created_at", DataType::Timestamp)),
    },
    OldTable {
        name: "revoked_tokens",
        columns: &[("id", DataType::Integer), ("jti", DataType::Varchar(120)), ("revoked_at", DataType::Timestamp)],
        optional: None,
    },
    OldTable {
        name: "refresh_tokens",
        columns: &[
            ("id", DataType::Integer),
            ("user_id", DataType::Integer),
            ("token", DataType::Varchar(1000)),
            ("expires_at", DataType::Timestamp),
        ],
        optional: None,
    },
];

/// The names of the old service's token tables.
pub fn old_tables() -> impl Iterator<Item = &'static str> {
    OLD_TABLES.iter().map(|table| table.name)
}

/// Drops the old service's token tables that exist, and returns their names.
///
/// # Errors
/// If a table or view with one of these names is not the old service's, or if another object, such as a view or a foreign key, depends on one of the
/// tables. Then no table is dropped. The operator must drop that object first.
pub async fn drop_old_tables(transaction: &Transaction<'_>) -> Result<Vec<&'static str>, Error> {
    let mut found = Vec::new();
    for table in &OLD_TABLES {
        match catalog::kind(transaction, table.name).await?.as_deref() {
            None => continue,
            Some("r") => {}
            Some(kind) => {
                return Err(table.not_the_old_services(vec![format!("it is {}", catalog::kind_in_words(kind))]));
            }
        }
        let differences = table.differences(&catalog::columns(transaction, table.name).await?);
        if !differences.is_empty() {
            return Err(table.not_the_old_services(differences));
        }
        found.push(table.name);
    }
    if !found.is_empty() {
        transaction.execute(&format!("DROP TABLE {}", found.join(", "))).await?;
    }
    Ok(found)
}

impl OldTable {
    fn not_the_old_services(&self, differences: Vec<String>) -> Error {
        Error::NotTheOldServices { table: self.name, differences }
    }

    /// Describes how a table differs from this one. Empty if it does not differ.
    fn differences(&self, columns: &[Column]) -> Vec<String> {
        let expected = || self.columns.iter().chain(&self.optional);
        let missing = self.columns.iter().filter(|(name, _)| !columns.iter().any(|column| column.name == *name));
        let mut differences: Vec<String> = missing.map(|(name, _)| format!("the column {name} is missing")).collect();
        for column in columns {
            match expected().find(|(name, _)| *name == column.name) {
                None => differences.push(format!("the column {} is not the old service's", column.name)),
                Some((_, expected)) if !expected.matches(&column.data_type) => {
                    differences.push(format!("{} is {}", column.name, column.data_type));
                }
                Some(_) => {}
            }
        }
        differences
    }
}

impl DataType {
    fn matches(self, data_type: &str) -> bool {
        match self {
            Self::Integer => data_type == "integer",
            Self::Varchar(width) => catalog::text_width(data_type) == Some(width),
            Self::Timestamp => data_type.starts_with("timestamp "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, &str)]) -> Vec<Column> {
        let column = |&(name, data_type): &(&str, &str)| Column {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            not_null: true,
            has_default: false,
            is_primary_key: false,
        };
        columns.iter().map(column).collect()
    }

    const RESET_TOKENS: [(&str, &str); 4] = [
        ("id", "integer"),
        ("user_id", "integer"),
        ("token", "character varying(100)"),
        ("expires_at", "timestamp without time zone"),
    ];

    #[test]
    fn both_versions_of_an_old_table_are_recognised() {
        let [reset_tokens, ..] = &OLD_TABLES;
        assert_eq!(reset_tokens.differences(&columns(&RESET_TOKENS)), [""; 0]);
        let with_created_at = [&RESET_TOKENS[..], &[("created_at", "timestamp without time zone")]].concat();
        assert_eq!(reset_tokens.differences(&columns(&with_created_at)), [""; 0]);
    }

    #[test]
    fn a_table_with_other_columns_is_not_recognised() {
        let [reset_tokens, ..] = &OLD_TABLES;
        assert_eq!(reset_tokens.differences(&columns(&RESET_TOKENS[..3])), ["the column expires_at is missing"]);
        let with_another_column = [&RESET_TOKENS[..], &[("used", "boolean")]].concat();
        assert_eq!(
            reset_tokens.differences(&columns(&with_another_column)),
            ["the column used is not the old service's"]
        );
        let mut with_another_type = RESET_TOKENS;
        with_another_type[2].1 = "text";
        assert_eq!(reset_tokens.differences(&columns(&with_another_type)), ["token is text"]);
    }
}
