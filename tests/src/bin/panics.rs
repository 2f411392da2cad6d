//! A function with a defect: it panics, and its words are the client's.

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
