//! A stand-in for SES that accepts every mail at once, so that the figures do not depend on SES.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;
use axum::Router;

const ACCEPTED: &str = r#"<SendRawEmailResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/">
<SendRawEmailResult><MessageId>accepted</MessageId></SendRawEmailResult></SendRawEmailResponse>"#;

/// A stand-in for SES that does not answer yet.
pub struct Ses {
    listener: TcpListener,
    pub url: String,
}

impl Ses {
    /// Takes a free port.
    pub fn bind() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, url })
    }

    /// Answers from now on, on the current runtime.
    pub async fn serve(self) -> Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let router = Router::new().fallback(async || ACCEPTED);
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(())
    }
}
