//! Dropping what the old service kept its tokens in. Its `users` are ours by then; the rest serves nobody any more.

use crate::{
    catalog::{self, Column},
    error::Error,
    transaction::Transaction,
};

/// A table of the old service: enough of it to tell it from somebody else's of the same name.
struct OldTable {
    name: &'static str,
    columns: &'static [(&'static str, DataType)],
    /// A column that only one of the old service's two forms has.
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

/// Drops the old service's token tables, as far as they are there, and says which. What depends on them stays in the way: a
/// view that somebody built on one is theirs to drop.
///
/// # Errors
/// Where one of the names belongs to something that is not the old service's: then none is dropped.
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

    /// How a table differs from this one, for a person to read; empty where it does not.
    fn differences(&self, columns: &[Column]) -> Vec<String> {
        let expected = || self.columns.iter().chain(&self.optional);
        let missing = self.columns.iter().filter(|(name, _)| !columns.iter().any(|column| column.name == *name));
        let mut differences: Vec<String> = missing.map(|(name, _)| format!("the column {name} is missing")).collect();
        for column in columns {
            match expected().find(|(name, _)| *name == column.name) {
                None => differences.push(format!("the column {} is not the old service's", column.name)),
                Some((_, data_type)) if !data_type.is(&column.data_type) => {
                    differences.push(format!("{} is {}", column.name, column.data_type));
                }
                Some(_) => {}
            }
        }
        differences
    }
}

impl DataType {
    fn is(self, data_type: &str) -> bool {
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
    fn both_forms_of_a_table_are_the_old_services() {
        let [reset_tokens, ..] = &OLD_TABLES;
        assert_eq!(reset_tokens.differences(&columns(&RESET_TOKENS)), [""; 0]);
        let with_created_at = [&RESET_TOKENS[..], &[("created_at", "timestamp without time zone")]].concat();
        assert_eq!(reset_tokens.differences(&columns(&with_created_at)), [""; 0]);
    }

    #[test]
    fn somebody_elses_table_is_not() {
        let [reset_tokens, ..] = &OLD_TABLES;
        assert_eq!(reset_tokens.differences(&columns(&RESET_TOKENS[..3])), ["the column expires_at is missing"]);
        let more = [&RESET_TOKENS[..], &[("used", "boolean")]].concat();
        assert_eq!(reset_tokens.differences(&columns(&more)), ["the column used is not the old service's"]);
        let mut wider = RESET_TOKENS;
        wider[2].1 = "text";
        assert_eq!(reset_tokens.differences(&columns(&wider)), ["token is text"]);
    }
}
