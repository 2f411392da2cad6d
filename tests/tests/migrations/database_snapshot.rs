//! The complete schema and content of a database as text, for comparison.

use std::collections::HashSet;

use tests::database::TestDatabase;

/// The relations of all schemas with their storage, columns, constraints, indexes, sequences and comments.
const CATALOGUE: &str = "
    WITH relation AS (
        SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    ), line AS (
        SELECT concat_ws(' ', 'relation', relkind, oid::regclass, relfilenode, reloptions, obj_description(oid, 'pg_class'))
        FROM relation
        UNION ALL
        SELECT concat_ws(' ', 'column', r.oid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
            attidentity, pg_get_expr(adbin, adrelid), col_description(r.oid, attnum))
        FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND attnum > 0
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        UNION ALL
        SELECT concat_ws(' ', 'constraint', r.oid::regclass, conname, pg_get_constraintdef(o.oid))
        FROM relation r JOIN pg_constraint o ON o.conrelid = r.oid
        UNION ALL
        SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid)) FROM relation r JOIN pg_index ON indrelid = r.oid
        UNION ALL
        SELECT concat_ws(' ', 'sequence', oid::regclass, pg_sequence_last_value(oid)) FROM relation WHERE relkind = 'S'
    )
    SELECT concat_ws AS line FROM line ORDER BY line";

const TABLES: &str = "
    SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY name";

/// Takes a snapshot: the catalogue, then every row of every table.
pub async fn take(database: &TestDatabase) -> String {
    let client = database.connect().await;
    let texts = async |query: &str| -> Vec<String> {
        let rows = client.query(query, &[]).await.expect("the query runs");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let mut lines = texts(CATALOGUE).await;
    for table in texts(TABLES).await {
        lines.extend(texts(&format!("SELECT 'row {table} ' || t::text AS row FROM {table} t ORDER BY row")).await);
    }
    lines.join("\n")
}

/// Asserts that two snapshots are equal. The message contains the lines that differ.
#[track_caller]
pub fn assert_same(before: &str, after: &str) {
    let only_in = |one: &str, other: &str| -> Vec<String> {
        let other: HashSet<&str> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).map(ToOwned::to_owned).collect()
    };
    assert!(before == after, "only before: {:#?}\nonly after: {:#?}", only_in(before, after), only_in(after, before));
}
