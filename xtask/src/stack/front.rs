//! What API Gateway does by itself, in front of the gateway that does the rest: it answers browsers for pages of other origins, puts
//! its own CORS headers into the place of a function's, and refuses what is no route. `cargo lambda watch` would admit every origin,
//! and has a function without a name answer what no route takes.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        Method, StatusCode, Uri,
        header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN},
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
use tokio::runtime;

use super::{cors::Cors, ports};

struct Front {
    gateway: String,
    client: Client<HttpConnector, Body>,
    cors: Cors,
}

/// Opens the API on a port, until this program ends.
pub fn open(port: u16, routes: &[(String, Vec<String>)], gateway: &str, cors: Cors) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|error| {
        claim(port)?;
        Err(error).context("the API's port cannot be opened")
    })?;
    listener.set_nonblocking(true)?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let app = app(routes, Arc::new(Front { gateway: gateway.to_owned(), client, cors }))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener)?, app).await })
    });
    Ok(())
}

pub fn claim(port: u16) -> Result<()> {
    ports::claim(port, "the API", "--port")
}

fn app(routes: &[(String, Vec<String>)], front: Arc<Front>) -> Result<Router> {
    let mut app = Router::new().fallback(not_found);
    for (path, methods) in routes {
        let methods: Vec<Method> = methods.iter().map(|method| method.parse()).collect::<Result<_, _>>()?;
        let serve = async move |State(front): State<Arc<Front>>, request: Request| {
            if methods.contains(request.method()) { front.forward(request).await } else { not_found().await }
        };
        app = app.route(path, any(serve));
    }
    Ok(app.layer(middleware::from_fn_with_state(Arc::clone(&front), cors)).with_state(front))
}

async fn cors(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    front.cors.apply(origin.as_ref(), preflight, response.headers_mut());
    response
}

impl Front {
    async fn forward(&self, mut request: Request) -> Response {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = format!("{}{path}", self.gateway).parse::<Uri>() else { return not_found().await };
        *request.uri_mut() = uri;
        match self.client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(_) => gateways_own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

async fn not_found() -> Response {
    gateways_own(StatusCode::NOT_FOUND, "Not Found")
}

/// What API Gateway answers by itself.
fn gateways_own(status: StatusCode, message: &str) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], json!({ "message": message }).to_string()).into_response()
}
