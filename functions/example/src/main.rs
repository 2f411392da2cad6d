//! `GET /api/example`: an example of a route behind the authorizer. Such a function needs no secret and no database, because API Gateway asks the
//! authorizer first and passes the ids of the user and the session on to the function.

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

async fn example((): &(), request: Request) -> Result<Reply, ApiError> {
    let caller = request.caller()?;
    Ok(Reply::ok(&Example { message: "The authorizer let you through", sub: caller.sub.to_string(), sid: caller.sid }))
}

#[derive(Serialize)]
struct Example {
    message: &'static str,
    sub: String,
    sid: SessionId,
}
