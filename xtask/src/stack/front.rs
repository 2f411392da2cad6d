//! What API Gateway does by itself, in front of the gateway that does the rest: it answers browsers for pages of other origins, puts
//! its own CORS headers into the place of a function's, refuses what is no route, and answers for a function that does not.
//! `cargo lambda watch` would admit every origin, have a function without a name answer what no route takes, and wait for ever for a
//! process that has ended.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, RETRY_AFTER},
    },
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::any,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::{runtime::Runtime, select, time::sleep};
use toolkit::{console::say, ports, workspace::Route};

use super::{
    cors::Cors,
    functions::{Functions, Running},
};

/// Functions answer every request within four seconds (docs/operations.md).
const DEADLINE: Duration = Duration::from_secs(10);

/// API Gateway's own limit.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// The open API. Dropping it closes the port.
pub struct Front {
    _runtime: Runtime,
}

struct Forwarder {
    gateway: String,
    client: Client<HttpConnector, Body>,
    cors: Cors,
}

/// A function that a route leads to.
#[derive(Clone)]
struct Target {
    /// Method and path of the route. The path of a request can have a secret in it.
    route: String,
    function: String,
    running: Running,
}

/// Opens the API on a port.
pub fn open(port: u16, routes: &[Route], functions: &Functions, gateway: &str, cors: Cors) -> Result<Front> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|error| {
        claim(port)?;
        Err(error).context("the API's port cannot be opened")
    })?;
    listener.set_nonblocking(true)?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let app = app(routes, functions, Arc::new(Forwarder { gateway: gateway.to_owned(), client, cors }))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(async { axum::serve(tokio::net::TcpListener::from_std(listener)?, app).await });
    Ok(Front { _runtime: runtime })
}

pub fn claim(port: u16) -> Result<()> {
    ports::claim(port, "the API", "--port")
}

fn app(routes: &[Route], functions: &Functions, forwarder: Arc<Forwarder>) -> Result<Router> {
    let mut targets: BTreeMap<&str, Vec<(Method, Target)>> = BTreeMap::new();
    for Route { path, method, function } in routes {
        let running = functions.running(function).with_context(|| format!("{path} leads to no function"))?;
        let target = Target { route: format!("{method} {path}"), function: function.clone(), running };
        targets.entry(path).or_default().push((method.parse()?, target));
    }
    let mut app = Router::new().fallback(not_found);
    for (path, targets) in targets {
        let serve = async move |State(forwarder): State<Arc<Forwarder>>, request: Request| match targets
            .iter()
            .find(|(method, _)| method == request.method())
        {
            Some((_, target)) => forwarder.forward(target.clone(), request).await,
            None => not_found().await,
        };
        app = app.route(path, any(serve));
    }
    Ok(app.layer(middleware::from_fn_with_state(Arc::clone(&forwarder), cors)).with_state(forwarder))
}

async fn cors(State(forwarder): State<Arc<Forwarder>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    forwarder.cors.apply(origin.as_ref(), preflight, response.headers_mut());
    response
}

impl Forwarder {
    async fn forward(&self, Target { route, function, mut running }: Target, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        if !*running.borrow_and_update() {
            return unavailable(&route, &format!("{function} does not run; its log says why"));
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = format!("{}{path}", self.gateway).parse::<Uri>() else { return not_found().await };
        parts.uri = uri;
        let Ok(body) = to_bytes(body, MAX_BODY).await else {
            return gateways_own(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        if str::from_utf8(&body).is_err() {
            mark_binary(&mut parts.headers);
        }
        select! {
            answer = self.client.request(Request::from_parts(parts, body.into())) => match answer {
                Ok(response) => response.map(Body::new),
                Err(_) => gateways_own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            },
            _ = running.changed() => unavailable(&route, &format!("a process of {function} ended meanwhile")),
            () = sleep(DEADLINE) => {
                unavailable(&route, &format!("{function} did not answer within {} s", DEADLINE.as_secs()))
            }
        }
    }
}

/// API Gateway hands a body that is not UTF-8 to a function as base64. `cargo lambda watch` goes by the media type: it fails at such a
/// body behind `application/json` or `text/…` in lower case, and behind no type at all. Case means nothing in a media type.
fn mark_binary(headers: &mut HeaderMap) {
    let marked = headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_uppercase());
    let marked = marked.filter(|value| !value.is_empty()).and_then(|value| HeaderValue::from_bytes(&value).ok());
    headers.insert(CONTENT_TYPE, marked.unwrap_or(HeaderValue::from_static("application/octet-stream")));
}

/// The functions' own answer when something they need is away. The terminal says what that is.
fn unavailable(route: &str, reason: &str) -> Response {
    say(format_args!("{route} is answered with 503: {reason}"));
    let body = json!({ "message": "Service temporarily unavailable", "code": "service_unavailable" });
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (RETRY_AFTER, "1")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body.to_string()).into_response()
}

async fn not_found() -> Response {
    gateways_own(StatusCode::NOT_FOUND, "Not Found")
}

/// What API Gateway answers by itself.
fn gateways_own(status: StatusCode, message: &str) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], json!({ "message": message }).to_string()).into_response()
}
