//! The local SES: it takes the mails the service sends, and shows them on a page and as JSON.

use std::time::Duration;

use anyhow::Result;

use super::{home::Home, http, ports, process::Service, tools};
use crate::{console::step, workspace::Workspace};

pub struct Mail {
    service: Service,
    port: u16,
}

impl Mail {
    pub fn start(workspace: &Workspace, home: &Home, port: Option<u16>) -> Result<Self> {
        let mut command = tools::mail(workspace)?;
        let port = match port {
            Some(port) => {
                ports::claim(port, "the mail server", "--mail-port")?;
                port
            }
            None => ports::free()?,
        };
        let url = url(port);
        step(format_args!("Starting the mail server on {url}"));
        command.arg(port.to_string());
        let mut service = Service::quiet("mail", &mut command, home)?;
        let agent = http::agent(Some(Duration::from_secs(1)));
        service.await_ready(Duration::from_secs(30), || agent.get(format!("{url}/store")).call().is_ok())?;
        Ok(Self { service, port })
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    pub fn check(&mut self) -> Result<()> {
        self.service.check()
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
