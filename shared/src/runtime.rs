//! Starting a function and turning every outcome of its handler into a response.

use std::{
    convert::Infallible,
    future::{Future, ready},
    panic::AssertUnwindSafe,
    process::ExitCode,
};

use futures_util::{FutureExt, future::Either};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use tracing::{Instrument, error, info, info_span, level_filters::LevelFilter};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{ConfigError, Environment},
    error::ApiError,
    http::{Reply, Request},
    system,
};

/// Runs an endpoint for the life of the process.
///
/// `init` builds what the handler needs from the environment, once; where it cannot, the function stops there and the log
/// names the variable. `handler` answers one request; its refusals, failures and panics all become responses.
pub async fn run<S, I, G, H, F>(init: I, handler: H) -> ExitCode
where
    S: Sync + 'static,
    I: FnOnce(Environment) -> G,
    G: Future<Output = Result<S, ConfigError>>,
    H: Fn(&'static S, Request) -> F + Sync,
    F: Future<Output = Result<Reply, ApiError>> + Send,
{
    init_logging();
    let state: &'static S = match init(Environment::of_the_process()).await {
        // The state lives as long as the process: leaking it spares every handler an Arc.
        Ok(state) => Box::leak(Box::new(state)),
        Err(problem) => {
            error!(%problem, "the function cannot start");
            return ExitCode::FAILURE;
        }
    };
    let served = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let span = info_span!("request", request_id = event.context.request_id);
        // What API Gateway did not make is answered like any other defect.
        let answer = match serde_json::from_value(event.payload) {
            // On the heap, or every `main` would hold the largest handler on its stack.
            Ok(payload) => Either::Left(Box::pin(handler(state, Request::new(payload, system::now())))),
            Err(problem) => Either::Right(ready(Err(ApiError::Internal(problem.into())))),
        };
        let answer = async move {
            let outcome = AssertUnwindSafe(answer).catch_unwind().await;
            Ok::<_, Infallible>(respond(
                outcome.unwrap_or_else(|_| Err(ApiError::Internal("the handler panicked".into()))),
            ))
        };
        answer.instrument(span)
    }));
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(%problem, "the Lambda runtime interface failed");
            ExitCode::FAILURE
        }
    }
}

/// The `init` of a function that needs nothing.
pub async fn nothing(_: Environment) -> Result<(), ConfigError> {
    Ok(())
}

/// One log line for each request: its outcome, and the cause of a failure, which the client never sees.
fn respond(outcome: Result<Reply, ApiError>) -> ApiGatewayV2httpResponse {
    let reply = match outcome {
        Ok(reply) => {
            info!(status = reply.status(), "answered");
            reply
        }
        Err(refusal) => {
            let (status, code) = refusal.status_and_code();
            if let Some(cause) = std::error::Error::source(&refusal) {
                error!(status = status.as_u16(), code, cause = chain(cause), "failed");
            } else {
                info!(status = status.as_u16(), code, "refused");
            }
            Reply::from(&refusal)
        }
    };
    reply.into()
}

/// An error and its causes in one line: a driver's error often says only "db error", and its source the rest.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Starts logging to standard output, where Lambda collects it: JSON when the function's logging configuration asks for
/// it (`AWS_LAMBDA_LOG_FORMAT=JSON`), else text. `AWS_LAMBDA_LOG_LEVEL` sets the level, `INFO` unless set.
pub fn init_logging() {
    let environment = Environment::of_the_process();
    let level = environment.logging("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok());
    // The libraries below stay quiet: what a driver or an SDK logs is not ours to vouch for.
    let filter = EnvFilter::new("warn").add_directive(level.unwrap_or(LevelFilter::INFO).into());
    let quiet = ["aws_", "hyper", "tokio_postgres", "rustls", "lambda_runtime"];
    let filter = quiet.iter().fold(filter, |filter, target| match format!("{target}=warn").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    // A second call, as in a test, keeps the first subscriber.
    if environment.logging("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        let _ = subscriber.json().flatten_event(true).try_init();
    } else {
        let _ = subscriber.try_init();
    }
}
