//! `GET /api/example`: a route behind the authorizer, for teams who bring their own functions. It knows no secret and asks no database:
//! API Gateway has asked the authorizer, and hands on whom it let through. Copy it, or delete it.

use std::process::ExitCode;

use serde::Serialize;
use shared::{
    domain::SessionId,
    error::ApiError,
    http::{Reply, Request},
    runtime::{nothing, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(nothing, example).await
}

#[derive(Serialize)]
struct Example {
    message: &'static str,
    sub: String,
    sid: SessionId,
}

async fn example((): &(), request: Request) -> Result<Reply, ApiError> {
    let caller = request.caller()?;
    Ok(Reply::ok(&Example { message: "The authorizer let you through", sub: caller.sub.to_string(), sid: caller.sid }))
}
