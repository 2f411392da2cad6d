//! Starting a function and turning every outcome of its handler into a response.

use std::{
    convert::Infallible,
    future::{Future, ready},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use futures_util::{FutureExt, future::Either};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_runtime::{Context, LambdaEvent, service_fn};
use serde_json::Value;
use tracing::{Instrument, Span, error, error_span, info, level_filters::LevelFilter};
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
    let environment = Environment::of_the_process();
    let process = init_logging(&environment);
    let serving = async {
        match init(environment).await {
            // The state lives as long as the process: leaking it spares every handler an Arc.
            Ok(state) => serve(Box::leak(Box::new(state)), handler).await,
            Err(problem) => {
                error!(%problem, "the function cannot start");
                ExitCode::FAILURE
            }
        }
    };
    serving.instrument(process).await
}

async fn serve<S, H, F>(state: &'static S, handler: H) -> ExitCode
where
    S: Sync,
    H: Fn(&'static S, Request) -> F + Sync,
    F: Future<Output = Result<Reply, ApiError>> + Send,
{
    let served = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let span = request_span(&event.context);
        // What API Gateway did not make is answered like any other defect. What exactly is wrong with it stays unsaid: serde would
        // quote it, an Authorization header for one.
        let answer = match serde_json::from_value(event.payload) {
            // On the heap, or every `main` would hold the largest handler on its stack.
            Ok(payload) => Either::Left(Box::pin(handler(state, Request::new(payload, system::now())))),
            Err(_) => Either::Right(ready(Err(ApiError::Internal("the event is none of an HTTP API".into())))),
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

/// What a driver or an SDK logs is not ours to vouch for: at every level they only warn. What a handler reports, it logs itself, with
/// the request's id; the runtime would repeat it without.
const LIBRARIES: &str =
    "aws_=warn,hyper=warn,lambda_runtime=warn,lambda_runtime::layers::panic=off,rustls=warn,tokio_postgres=warn";

/// Starts logging to standard output, where Lambda collects it: JSON when the function's logging configuration asks for
/// it (`AWS_LAMBDA_LOG_FORMAT=JSON`), else text. `AWS_LAMBDA_LOG_LEVEL` sets the level, `INFO` unless set. A panic is a line like any
/// other, of its place alone: its message may quote what it choked on.
///
/// Gives the span for the life of the process, which names the function. (Spans are errors in name only: an info span would be
/// missing from the lines of a function that logs nothing but errors.)
pub fn init_logging(environment: &Environment) -> Span {
    let level = environment.lambda("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok());
    let filter = EnvFilter::new(format!("{},{LIBRARIES}", level.unwrap_or(LevelFilter::INFO)));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    // A second call, as in a test, keeps the first subscriber.
    if environment.lambda("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        let _ = subscriber.json().flatten_event(true).try_init();
    } else {
        let _ = subscriber.try_init();
    }
    panic::set_hook(Box::new(|panic| error!(at = panic.location().map(ToString::to_string), "panicked")));
    error_span!("process", function = environment.lambda("AWS_LAMBDA_FUNCTION_NAME"))
}

/// The span of one invocation, which names it.
#[must_use]
pub fn request_span(context: &Context) -> Span {
    error_span!("request", request_id = context.request_id)
}
