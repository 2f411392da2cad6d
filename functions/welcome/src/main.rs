//! `GET /`: says that the API is online.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    error::ApiError,
    http::{Reply, Request},
    runtime::{nothing, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(nothing, welcome).await
}

async fn welcome((): &(), _: Request) -> Result<Reply, ApiError> {
    Ok(Reply::ok(&Welcome { message: "Welcome to JWT Auth API", status: "online" }))
}

#[derive(Serialize)]
struct Welcome {
    message: &'static str,
    status: &'static str,
}
