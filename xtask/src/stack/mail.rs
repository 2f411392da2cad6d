//! The local stand-in for SES. It accepts the mails that the service sends, and shows them on a web page and as JSON.

use std::time::Duration;

use anyhow::Result;
use toolkit::{console::step, http, ports, run_folder::RunFolder, service::Service, workspace::Workspace};

use crate::tools;

pub struct Mail {
    service: Service,
    port: u16,
}

impl Mail {
    pub fn start(workspace: &Workspace, run_folder: &RunFolder, port: Option<u16>) -> Result<Self> {
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
        let mut service = Service::with_log_file("mail", &mut command, run_folder)?;
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
