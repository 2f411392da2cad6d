//! A function that panics with text from the request, to test that panics are answered and not logged verbatim.

use std::process::ExitCode;

use shared::{
    error::ApiError,
    http::{Reply, Request},
    runtime::{nothing, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(nothing, panics).await
}

async fn panics((): &(), request: Request) -> Result<Reply, ApiError> {
    panic!("{:?}", request.texts(["password"])?)
}
