//! What the stores contain about a person.

use serde_json::Value;

use crate::{Person, Stack};

/// The columns of all tables, and whether each contains the id of a user: the column `id` of `users`, every column that refers to it, and every
/// column `user_id`.
const COLUMNS: &str = "
    SELECT c.table_name::text, c.column_name::text,
        c.column_name = 'user_id' OR (c.table_name = 'users' AND c.column_name = 'id') OR EXISTS (
            SELECT FROM pg_constraint r JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = ANY (r.conkey)
            WHERE r.confrelid = 'users'::regclass AND r.conrelid = format('%I', c.table_name)::regclass AND a.attname = c.column_name
        )
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
    ORDER BY 1, 2";

impl Stack {
    /// Everything in the stores, as text: every row of every table in PostgreSQL, and every item in DynamoDB.
    pub async fn dump(&self) -> String {
        let items = match &self.state_table {
            Some(table) => table.items().await,
            None => Vec::new(),
        };
        let rows = "SELECT database_to_xml(nulls => false, tableforest => true, targetns => '')::text";
        self.sql_text(rows).await + &Value::from(items).to_string()
    }

    /// Where the stores name a person, by id, name or address: the columns in PostgreSQL, such as `users.email`, and the items in DynamoDB, such as
    /// `u#7 account`.
    pub async fn traces_of(&self, user: i64, person: &Person<'_>) -> Vec<String> {
        let connection = self.database.connect().await;
        let mut traces = Vec::new();
        for row in connection.query(COLUMNS, &[]).await.expect("the columns") {
            let (table, column, is_id): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
            let condition = if is_id {
                format!("\"{column}\" = {user}")
            } else {
                format!(
                    "strpos(lower(\"{column}\"::text), lower($1)) > 0 OR strpos(lower(\"{column}\"::text), lower($2)) > 0"
                )
            };
            let query = format!(
                "SELECT EXISTS (SELECT FROM \"{table}\" WHERE {condition}) AND length($1::text) + length($2::text) > 0"
            );
            let found = connection.query_one(&query, &[&person.name, &person.email]).await.expect("the rows");
            if found.get(0) {
                traces.push(format!("{table}.{column}"));
            }
        }
        let items = match &self.state_table {
            Some(table) => table.items().await,
            None => Vec::new(),
        };
        for item in items {
            let text = item.to_string().to_lowercase();
            let names = [&person.name, &person.email].iter().any(|name| text.contains(&name.to_lowercase()));
            let partition = item["pk"]["S"].as_str().unwrap_or_default();
            if names || partition == format!("u#{user}") {
                let sort = item["sk"]["S"].as_str().unwrap_or_default();
                traces.push(format!("{partition} {}", sort.split('#').next().unwrap_or_default()));
            }
        }
        traces
    }
}
