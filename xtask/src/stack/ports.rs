//! Ports on this machine.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Refuses a port that somebody else has.
pub fn claim(port: u16, what: &str, flag: &str) -> Result<()> {
    // Asking as well as trying: some systems let two programs listen, on the address and on all addresses.
    if TcpListener::bind((HERE, port)).is_err() || answers(port) {
        bail!(
            "port {port}, wanted for {what}, is taken by another program. Stop that one, or choose another port: {flag} N"
        );
    }
    Ok(())
}

pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((HERE, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

pub fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&(HERE, port).into(), Duration::from_millis(200)).is_ok()
}
