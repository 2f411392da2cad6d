//! Connects to PostgreSQL and reads one row by its primary key: the lower bound for `dashboard`.

use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    limits::serve_statement("SELECT email FROM users WHERE id = $1").await
}
