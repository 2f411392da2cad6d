//! TCP ports on 127.0.0.1.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Returns an error if another program uses the port. In the error, `what` is the program that needs the port, and `flag` is the option
/// that chooses another port.
pub fn claim(port: u16, what: &str, flag: &str) -> Result<()> {
    // A successful bind is not enough: some systems let one program listen on 127.0.0.1 and another one on all addresses.
    if TcpListener::bind((LOCALHOST, port)).is_err() || answers(port) {
        bail!(
            "another program uses port {port}, which {what} needs. Stop that program, or choose another port: {flag} N"
        );
    }
    Ok(())
}

/// Returns a port that no program uses now.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Whether a program accepts connections on the port.
#[must_use]
pub fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&(LOCALHOST, port).into(), Duration::from_millis(200)).is_ok()
}
