//! Starts a function, and makes a response from what its handler returns.

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
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json, value::RawValue};
use tracing::{Instrument, Span, error, error_span, info, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::{
    db::in_one_line,
    deadline,
    domain::UnixMillis,
    environment::{ConfigError, Environment},
    error::ApiError,
    http::{Authorization, Reply, Request},
    security::policy,
    sessions::Authenticated,
    system,
};

/// Runs an endpoint for the life of the process.
///
/// `init` builds the handler's state from the environment, once. If it fails, the function ends, and the log names the variable. `handler`
/// answers one request. Its refusals, failures and panics become responses.
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

/// Runs an HTTP API's Lambda authorizer (payload format 2.0, simple response), in the same way as [`run`].
///
/// `handler` returns the user and the session of the request. If it refuses the request, API Gateway answers 403. If it fails, the invocation fails
/// and API Gateway answers 500. So a client can distinguish an invalid token from a service that is not available.
pub async fn run_authorizer<S, I, G, H, F>(init: I, handler: H) -> ExitCode
where
    S: Sync + 'static,
    I: FnOnce(Environment) -> G,
    G: Future<Output = Result<S, ConfigError>>,
    H: Fn(&'static S, Request) -> F + Sync,
    F: Future<Output = Result<Authenticated, ApiError>> + Send,
{
    let authorizer = FunctionKind { read: Request::to_authorize, budget: policy::REQUEST_BUDGET, respond: authorize };
    start(init, authorizer, handler).await
}

/// Runs a function that a schedule invokes, in the same way as [`run`]. `handler` returns a report. If it fails, the invocation fails, and Lambda may
/// invoke the function again.
pub async fn run_scheduled<S, I, G, H, F, R>(init: I, handler: H) -> ExitCode
where
    S: Sync + 'static,
    I: FnOnce(Environment) -> G,
    G: Future<Output = Result<S, ConfigError>>,
    H: Fn(&'static S, Scheduled) -> F + Sync,
    F: Future<Output = Result<R, ApiError>> + Send,
    R: Serialize + Send,
{
    let scheduled =
        FunctionKind { read: |_: IgnoredAny, _| Scheduled(()), budget: policy::SWEEP_BUDGET, respond: report };
    start(init, scheduled, handler).await
}

/// An invocation by a schedule.
pub struct Scheduled(());

impl Scheduled {
    /// The system's random number generator.
    #[must_use]
    pub fn rng(&self) -> impl CryptoRng + use<> {
        system::rng()
    }
}

/// The differences between endpoints, authorizers and scheduled functions.
struct FunctionKind<E, Q, T, R> {
    /// Makes the handler's argument from an event.
    read: fn(E, UnixMillis) -> Q,
    /// The time that the handler has.
    budget: Duration,
    /// Makes the response from what the handler returned.
    respond: fn(Result<T, ApiError>) -> Result<R, Diagnostic>,
}

const ENDPOINT: FunctionKind<ApiGatewayV2httpRequest, Request, Reply, ApiGatewayV2httpResponse> =
    FunctionKind { read: Request::new, budget: policy::REQUEST_BUDGET, respond };

async fn start<S, I, G, E, Q, H, F, T, R>(init: I, kind: FunctionKind<E, Q, T, R>, handler: H) -> ExitCode
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
    let environment = Environment::of_this_process();
    let process = init_logging(&environment);
    let serving = async {
        match init(environment).await {
            // The state is leaked, because it lives as long as the process. So handlers need no `Arc`.
            Ok(state) => serve(Box::leak(Box::new(state)), kind, handler).await,
            Err(problem) => {
                error!(%problem, "the function cannot start");
                ExitCode::FAILURE
            }
        }
    };
    serving.instrument(process).await
}

async fn serve<S, E, Q, H, F, T, R>(state: &'static S, kind: FunctionKind<E, Q, T, R>, handler: H) -> ExitCode
where
    S: Sync,
    E: DeserializeOwned,
    H: Fn(&'static S, Q) -> F + Sync,
    F: Future<Output = Result<T, ApiError>> + Send,
    T: Send,
    R: Serialize,
{
    let (kind, handler) = (&kind, &handler);
    let served = lambda_runtime::run(service_fn(|LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| {
        let span = request_span(&payload, &context);
        answer(payload, context, kind, move |request| handler(state, request)).instrument(span)
    }));
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(%problem, "the Lambda runtime interface failed");
            ExitCode::FAILURE
        }
    }
}

/// The answer of [`run`] to one event.
pub async fn answer_http<H, F>(event: &RawValue, handler: H) -> Result<ApiGatewayV2httpResponse, Diagnostic>
where
    H: FnOnce(Request) -> F,
    F: Future<Output = Result<Reply, ApiError>>,
{
    answer(event.to_owned(), Context::default(), &ENDPOINT, handler).await
}

async fn answer<E, Q, H, F, T, R>(
    event: Box<RawValue>,
    context: Context,
    &FunctionKind { read, budget, respond }: &FunctionKind<E, Q, T, R>,
    handler: H,
) -> Result<R, Diagnostic>
where
    E: DeserializeOwned,
    H: FnOnce(Q) -> F,
    F: Future<Output = Result<T, ApiError>>,
{
    let now = system::now();
    let outcome = async {
        let event = read_event(&event)?;
        // The handler's future is on the heap. Otherwise the stack of `main` would have to hold the whole future.
        Box::pin(handler(read(event, now))).await
    };
    let outcome = deadline::within(deadline::budget(&context, now.seconds(), budget), outcome);
    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
    respond(outcome.unwrap_or_else(|_| Err(ApiError::Internal("the handler panicked".into()))))
}

/// Reads an event. Invalid headers are refused as the client's error. Any other event that API Gateway could not have made is a defect. The message
/// of serde is not used, because it may quote an Authorization header.
fn read_event<E: DeserializeOwned>(event: &RawValue) -> Result<E, ApiError> {
    serde_json::from_str(event.get()).map_err(|_| {
        let mut event: Value = serde_json::from_str(event.get()).unwrap_or_default();
        if event["headers"].is_object() && E::deserialize(&event).is_err() {
            event["headers"] = json!({});
            if E::deserialize(&event).is_ok() {
                return ApiError::InvalidHeaders;
            }
        }
        ApiError::Internal("the event is not an event of an HTTP API".into())
    })
}

/// The `init` of a function without state.
pub async fn nothing(_: Environment) -> Result<(), ConfigError> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "an authorizer can fail, an endpoint always answers")]
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

fn authorize(outcome: Result<Authenticated, ApiError>) -> Result<Authorization, Diagnostic> {
    match outcome {
        Ok(caller) => {
            info!("authorized");
            Ok(Authorization::of(
                caller.user_id,
                caller.session_id,
                caller.auth_time,
                caller.methods,
                caller.email_verified,
            ))
        }
        Err(refusal) => {
            log(&refusal);
            if refusal.status().is_server_error() { Err(diagnostic(&refusal)) } else { Ok(Authorization::denied()) }
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
    Diagnostic { error_type: failure.code().to_owned(), error_message: failure.to_string() }
}

/// Logs one line for a request that is not served, with the cause of a failure.
fn log(refusal: &ApiError) {
    let (status, code) = (refusal.status(), refusal.code());
    if let Some(cause) = std::error::Error::source(refusal) {
        error!(status = status.as_u16(), code, cause = in_one_line(cause), "failed");
    } else {
        info!(status = status.as_u16(), code, "refused");
    }
}

/// Libraries may log secrets at the levels below `WARN`, so only their warnings and errors are logged. The runtime's own lines about panics and
/// errors are off, because this module logs them with the request's id.
const LIBRARIES: [(&str, LevelFilter); 6] = [
    ("aws_", LevelFilter::WARN),
    ("hyper", LevelFilter::WARN),
    ("lambda_runtime", LevelFilter::WARN),
    ("lambda_runtime::layers::panic", LevelFilter::OFF),
    ("rustls", LevelFilter::WARN),
    ("tokio_postgres", LevelFilter::WARN),
];

/// Starts logging to standard output, which Lambda collects. `AWS_LAMBDA_LOG_FORMAT=JSON` selects JSON instead of text, and `AWS_LAMBDA_LOG_LEVEL`
/// the level, which is `INFO` by default. A panic is logged as one line with its place, without its message, which may quote a secret.
///
/// A line of JSON contains the innermost span as `span`. Returns the span of the process, which names the function. Its level is `ERROR`, because an
/// `INFO` span would be missing from the lines of a function that logs only errors.
pub fn init_logging(environment: &Environment) -> Span {
    let level = environment.optional("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok());
    let filter = Targets::new().with_default(level.unwrap_or(LevelFilter::INFO)).with_targets(LIBRARIES);
    let lines = fmt::layer().with_target(false).with_ansi(false).log_internal_errors(true);
    let is_json =
        environment.optional("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    let lines = if is_json { lines.json().flatten_event(true).with_span_list(false).boxed() } else { lines.boxed() };
    // If a test calls this again, the first subscriber stays.
    let _ = registry().with(filter).with(lines).try_init();
    panic::set_hook(Box::new(|panic| error!(at = panic.location().map(ToString::to_string), "panicked")));
    error_span!("process", function = environment.optional("AWS_LAMBDA_FUNCTION_NAME"))
}

/// The span of one invocation. Each log line of the invocation has the fields of the span: Lambda's request id, and the function, because all
/// functions write to one log group. For a request of an HTTP API, these are also the client's IP address, and the request id that API Gateway writes
/// into its access log. The span has no parent. Otherwise each line of text would name the function twice.
#[must_use]
pub fn request_span(event: &RawValue, context: &Context) -> Span {
    // Whoever may invoke the function can send any event. The span leaves out a value that API Gateway would not send. If one value is not a text, it
    // leaves out both.
    let origin = serde_json::from_str::<Origin>(event.get()).unwrap_or_default().request_context;
    let id = origin.request_id.filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
    let source: Option<IpAddr> = origin.http.source_ip.and_then(|address| address.parse().ok());
    error_span!(
        parent: None,
        "request",
        function = context.env_config.function_name,
        request_id = context.request_id,
        api_request_id = id,
        source = source.map(tracing::field::display)
    )
}

/// The part of an event that says which request of the HTTP API it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Origin {
    request_context: OriginContext,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OriginContext {
    request_id: Option<String>,
    http: OriginHttp,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OriginHttp {
    source_ip: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary;
    use proptest::{prelude::*, property_test, sample::select};

    /// The status, and the code of a refusal.
    fn answered(event: &str) -> (i64, String) {
        let event = RawValue::from_string(event.to_owned()).unwrap();
        let look = |request: Request| async move {
            let (token, host, source) = (request.path_token(), request.domain_name(), request.source());
            let seen = format!("{token:?} {host:?} {source:?} {:?} {:?}", request.bearer_token(), request.caller());
            request.texts(["message"]).map(|[message]| Reply::ok(&json!({ "seen": seen, "message": message })))
        };
        let response = json!(answer_http(&event, look).now_or_never().unwrap().unwrap());
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
            assert_eq!(response["headers"][name], value);
        }
        let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        (response["statusCode"].as_i64().unwrap(), body["code"].as_str().unwrap_or_default().to_owned())
    }

    // Requirement 24.
    #[test]
    fn events_that_api_gateway_cannot_send_are_defects() {
        let event = |inner: &str| {
            answered(&format!(
                r#" {{"headers": {{"host": "a"}}, "requestContext": {{"http": {{"method": "GET"{inner}}}}}}}"#
            ))
        };
        assert_eq!(event("").1, "unsupported_media_type");
        for odd in [r#", "method": "GET""#, r#", "path": "\ud800""#, r#", "path": 5"#] {
            assert_eq!(event(odd), (500, "internal_error".to_owned()), "{odd}");
        }
        let twice = r#"{"headers": {}, "headers": {}, "requestContext": {"http": {"method": "GET"}}}"#;
        assert_eq!(answered(twice).1, "internal_error");
    }

    // Requirement 24.
    #[property_test]
    fn malformed_events_are_answered(
        #[strategy = select(vec![
            "", "/version", "/headers", "/headers/content-type", "/headers/authorization", "/pathParameters", "/requestContext",
            "/requestContext/http", "/requestContext/http/method", "/requestContext/http/sourceIp", "/requestContext/authorizer",
            "/requestContext/domainName", "/body", "/isBase64Encoded",
        ])]
        place: &'static str,
        #[strategy = prop_oneof![arbitrary::json(), arbitrary::text().prop_map(Value::from)]] odd: Value,
    ) {
        let mut event: Value = serde_json::from_str(include_str!("../../events/reset-password.json")).unwrap();
        assert_eq!(answered(&event.to_string()).0, 200);
        event["headers"]["authorization"] = "Bearer a.b.c".into();
        event["requestContext"]["authorizer"] = json!({ "lambda": { "sub": "7", "sid": "" } });
        *event.pointer_mut(place).unwrap() = odd;
        let (status, code) = answered(&event.to_string());
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
