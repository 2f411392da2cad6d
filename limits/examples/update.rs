//! Connects to PostgreSQL and changes one row, found by its primary key: the lower bound for `refresh`.

use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    limits::serve_statement("UPDATE limits SET changes = changes + 1 WHERE id = $1 RETURNING changes::text").await
}
