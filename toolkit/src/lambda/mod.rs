//! Runs the functions' binaries as AWS Lambda does. Each function has several processes, which fetch their events over the Lambda
//! runtime interface.

mod function;
mod runtime_api;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::Ipv4Addr, process::ExitStatus, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;

pub use self::function::{Function, FunctionSettings, NoAnswer, Outcome};

/// Receives the output of the functions' processes and is notified when one ends. The methods are called from asynchronous code,
/// so they must not block for long.
pub trait Observer: Send + Sync + 'static {
    /// Called after a process wrote a line to its standard output or its standard error.
    fn line_written(&self, function: &str, line: &str);

    /// Called after a process ended by itself. `restarted` says whether another process replaces it.
    fn process_ended(&self, function: &str, status: ExitStatus, restarted: bool);
}

/// The functions by name.
pub struct Functions(BTreeMap<String, Arc<Function>>);

impl Functions {
    /// Opens the runtime interface on a free port of 127.0.0.1. The first process of a function starts with [`Function::start`],
    /// or with the first event.
    pub async fn open(functions: Vec<FunctionSettings>, observer: Arc<dyn Observer>) -> Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("cannot open a port for the Lambda runtime interface")?;
        let address = listener.local_addr()?;
        let functions = functions.into_iter().map(|settings| {
            let name = settings.name.clone();
            (name, Function::new(settings, address, Arc::clone(&observer)))
        });
        let functions = Arc::new(Self(functions.collect()));
        runtime_api::serve(listener, Arc::clone(&functions));
        Ok(functions)
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.0.get(name)
    }

    /// All functions, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Function> {
        self.0.values().map(AsRef::as_ref)
    }
}
