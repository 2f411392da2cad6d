//! `GET /api/public`: an example of a public route. It uses no database and no AWS service, so it
//! answers even if they fail.

use std::process::ExitCode;

use shared::{
    error::ApiError,
    http::{Message, Reply, Request},
    runtime::{nothing, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(nothing, public).await
}

async fn public((): &(), _: Request) -> Result<Reply, ApiError> {
    Ok(Reply::ok(&Message { message: "This is a public endpoint" }))
}
