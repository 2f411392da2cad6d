//! Starting a function and turning every outcome of its handler into a response.

use std::{
    future::Future,
    net::IpAddr,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::Duration,
};

use futures_util::FutureExt;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use rand::CryptoRng;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::{Instrument, Span, error, error_span, info, level_filters::LevelFilter};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{ConfigError, Environment},
    deadline,
    domain::UnixTime,
    error::ApiError,
    http::{Authorization, Reply, Request},
    security::{policy, token::Verified},
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
    start(init, ENDPOINT, handler).await
}

/// Runs an HTTP API's Lambda authorizer (payload format 2.0, simple response), in the same way.
///
/// `handler` says whose token a request carries. Its refusals let nobody through; its failures are errors, which API Gateway answers
/// with its own 500, so that a client can tell a token that is bad from a service that is away.
pub async fn run_authorizer<S, I, G, H, F>(init: I, handler: H) -> ExitCode
where
    S: Sync + 'static,
    I: FnOnce(Environment) -> G,
    G: Future<Output = Result<S, ConfigError>>,
    H: Fn(&'static S, Request) -> F + Sync,
    F: Future<Output = Result<Verified, ApiError>> + Send,
{
    let authorizer = Kind { read: Request::to_authorize, budget: policy::REQUEST_BUDGET, respond: authorize };
    start(init, authorizer, handler).await
}

/// Runs a function that a schedule invokes, in the same way. `handler` says what it did; where it fails, the invocation does, and
/// Lambda may invoke it again.
pub async fn run_scheduled<S, I, G, H, F, R>(init: I, handler: H) -> ExitCode
where
    S: Sync + 'static,
    I: FnOnce(Environment) -> G,
    G: Future<Output = Result<S, ConfigError>>,
    H: Fn(&'static S, Scheduled) -> F + Sync,
    F: Future<Output = Result<R, ApiError>> + Send,
    R: Serialize + Send,
{
    let scheduled = Kind { read: |_: Value, _| Scheduled(()), budget: policy::SWEEP_BUDGET, respond: report };
    start(init, scheduled, handler).await
}

/// What a schedule says: that it is time.
pub struct Scheduled(());

impl Scheduled {
    /// The system's random number generator.
    #[must_use]
    pub fn rng(&self) -> impl CryptoRng + use<> {
        system::rng()
    }
}

/// What makes one kind of function differ from another.
struct Kind<E, Q, T, R> {
    /// What the handler gets to see of an event.
    read: fn(E, UnixTime) -> Q,
    /// The time there is for it.
    budget: Duration,
    /// What becomes of its outcome.
    respond: fn(Result<T, ApiError>) -> Result<R, Diagnostic>,
}

const ENDPOINT: Kind<ApiGatewayV2httpRequest, Request, Reply, ApiGatewayV2httpResponse> =
    Kind { read: Request::new, budget: policy::REQUEST_BUDGET, respond };

async fn start<S, I, G, E, Q, H, F, T, R>(init: I, kind: Kind<E, Q, T, R>, handler: H) -> ExitCode
where
    S: Sync + 'static,
    I: FnOnce(Environment) -> G,
    G: Future<Output = Result<S, ConfigError>>,
    E: DeserializeOwned,
    H: Fn(&'static S, Q) -> F + Sync,
    F: Future<Output = Result<T, ApiError>> + Send,
    T: Send,
    R: Serialize,
{
    let environment = Environment::of_the_process();
    let process = init_logging(&environment);
    let serving = async {
        match init(environment).await {
            // The state lives as long as the process: leaking it spares every handler an Arc.
            Ok(state) => serve(Box::leak(Box::new(state)), kind, handler).await,
            Err(problem) => {
                error!(%problem, "the function cannot start");
                ExitCode::FAILURE
            }
        }
    };
    serving.instrument(process).await
}

async fn serve<S, E, Q, H, F, T, R>(state: &'static S, kind: Kind<E, Q, T, R>, handler: H) -> ExitCode
where
    S: Sync,
    E: DeserializeOwned,
    H: Fn(&'static S, Q) -> F + Sync,
    F: Future<Output = Result<T, ApiError>> + Send,
    T: Send,
    R: Serialize,
{
    let (kind, handler) = (&kind, &handler);
    let served = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let span = request_span(&event);
        answer(event, kind, move |request| handler(state, request)).instrument(span)
    }));
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(%problem, "the Lambda runtime interface failed");
            ExitCode::FAILURE
        }
    }
}

/// What [`run`] answers to one event, whatever it is.
pub async fn answer_http<H, F>(event: Value, handler: H) -> Result<ApiGatewayV2httpResponse, Diagnostic>
where
    H: FnOnce(Request) -> F,
    F: Future<Output = Result<Reply, ApiError>>,
{
    answer(LambdaEvent::new(event, Context::default()), &ENDPOINT, handler).await
}

async fn answer<E, Q, H, F, T, R>(
    LambdaEvent { payload, context }: LambdaEvent<Value>,
    &Kind { read, budget, respond }: &Kind<E, Q, T, R>,
    handler: H,
) -> Result<R, Diagnostic>
where
    E: DeserializeOwned,
    H: FnOnce(Q) -> F,
    F: Future<Output = Result<T, ApiError>>,
{
    let now = system::now();
    let outcome = async {
        let event = read_event(payload)?;
        // On the heap, or every `main` would hold the largest handler on its stack.
        Box::pin(handler(read(event, now))).await
    };
    let outcome = deadline::within(deadline::budget(&context, now, budget), outcome);
    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
    respond(outcome.unwrap_or_else(|_| Err(ApiError::Internal("the handler panicked".into()))))
}

/// Reads an event. Headers that no HTTP request can have are the client's fault, wherever they come from. What API Gateway did not make
/// is answered like any other defect. What exactly is wrong stays unsaid, because serde would quote it, an Authorization header for one.
fn read_event<E: DeserializeOwned>(mut payload: Value) -> Result<E, ApiError> {
    E::deserialize(&payload).map_err(|_| {
        if payload["headers"].is_object() {
            payload["headers"] = json!({});
            if E::deserialize(&payload).is_ok() {
                return ApiError::InvalidHeaders;
            }
        }
        ApiError::Internal("the event is none of an HTTP API".into())
    })
}

/// The `init` of a function that needs nothing.
pub async fn nothing(_: Environment) -> Result<(), ConfigError> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "an endpoint has an answer to everything; an authorizer has not")]
fn respond(outcome: Result<Reply, ApiError>) -> Result<ApiGatewayV2httpResponse, Diagnostic> {
    let reply = match outcome {
        Ok(reply) => {
            info!(status = reply.status(), "answered");
            reply
        }
        Err(refusal) => {
            log(&refusal);
            Reply::from(&refusal)
        }
    };
    Ok(reply.into())
}

fn authorize(outcome: Result<Verified, ApiError>) -> Result<Authorization, Diagnostic> {
    match outcome {
        Ok(token) => {
            info!("authorized");
            Ok(Authorization::of(token))
        }
        Err(refusal) => {
            log(&refusal);
            if refusal.status_and_code().0.is_server_error() {
                Err(diagnostic(&refusal))
            } else {
                Ok(Authorization::denied())
            }
        }
    }
}

fn report<T>(outcome: Result<T, ApiError>) -> Result<T, Diagnostic> {
    outcome.map_err(|failure| {
        log(&failure);
        diagnostic(&failure)
    })
}

fn diagnostic(failure: &ApiError) -> Diagnostic {
    Diagnostic { error_type: failure.status_and_code().1.to_owned(), error_message: failure.to_string() }
}

/// One log line for each request that is not served: why, and the cause of a failure, which the client never sees.
fn log(refusal: &ApiError) {
    let (status, code) = refusal.status_and_code();
    if let Some(cause) = std::error::Error::source(refusal) {
        error!(status = status.as_u16(), code, cause = chain(cause), "failed");
    } else {
        info!(status = status.as_u16(), code, "refused");
    }
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

/// The span of one invocation, whose fields are in each of its lines: Lambda's id, and for a request of an HTTP API also API Gateway's id,
/// which the access log has, and the client's address as API Gateway saw it. Other events have neither of the two.
#[must_use]
pub fn request_span(LambdaEvent { payload, context }: &LambdaEvent<Value>) -> Span {
    let request = &payload["requestContext"];
    // Somebody who may invoke a function can send any event, so what API Gateway would not write is left out.
    let id = request["requestId"].as_str().filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
    let source: Option<IpAddr> = request["http"]["sourceIp"].as_str().and_then(|address| address.parse().ok());
    error_span!(
        "request",
        request_id = context.request_id,
        api_request_id = id,
        source = source.map(tracing::field::display)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary;
    use proptest::{prelude::*, property_test, sample::select};

    /// The status, and the code of a refusal.
    fn answered(event: Value) -> (i64, String) {
        let look = |request: Request| async move {
            let (token, host, source) = (request.path_token(), request.domain_name(), request.source());
            let seen = format!("{token:?} {host:?} {source:?} {:?} {:?}", request.bearer_token(), request.caller());
            request.texts(["message"]).map(|[message]| Reply::ok(&json!({ "seen": seen, "message": message })))
        };
        let response = json!(answer_http(event, look).now_or_never().unwrap().unwrap());
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
            assert_eq!(response["headers"][name], value);
        }
        let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        (response["statusCode"].as_i64().unwrap(), body["code"].as_str().unwrap_or_default().to_owned())
    }

    // Requirement 24.
    #[property_test]
    fn every_odd_event_is_answered(
        #[strategy = select(vec![
            "", "/version", "/headers", "/headers/content-type", "/headers/authorization", "/pathParameters", "/requestContext",
            "/requestContext/http", "/requestContext/http/method", "/requestContext/http/sourceIp", "/requestContext/authorizer",
            "/requestContext/domainName", "/body", "/isBase64Encoded",
        ])]
        place: &'static str,
        #[strategy = prop_oneof![arbitrary::json(), arbitrary::text().prop_map(Value::from)]] odd: Value,
    ) {
        let mut event: Value = serde_json::from_str(include_str!("../../events/reset-password.json")).unwrap();
        assert_eq!(answered(event.clone()).0, 200);
        event["headers"]["authorization"] = "Bearer a.b.c".into();
        event["requestContext"]["authorizer"] = json!({ "lambda": { "sub": "7", "sid": "" } });
        *event.pointer_mut(place).unwrap() = odd;
        let (status, code) = answered(event);
        let known = [
            (200, ""),
            (400, "invalid_json"),
            (400, "invalid_headers"),
            (415, "unsupported_media_type"),
            (500, "internal_error"),
        ];
        assert!(known.contains(&(status, &code)), "{status} {code}");
    }
}
