//! Lets containers reach a port that listens on 127.0.0.1 alone, without opening it to the network: whoever connects to the bridge's
//! address is connected on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};

/// Forwards one port of `bridge` to the same port of 127.0.0.1, until this program ends.
pub fn from(bridge: IpAddr, port: u16) -> Result<()> {
    let address = SocketAddr::new(bridge, port);
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}, where containers would reach this machine. Is the port taken? Is Docker's engine on this machine?")
    })?;
    thread::spawn(move || {
        for caller in listener.incoming().flatten() {
            thread::spawn(move || connect(&caller, port));
        }
    });
    Ok(())
}

fn connect(caller: &TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    thread::scope(|scope| {
        scope.spawn(|| copy(caller, &server));
        copy(&server, caller);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    _ = io::copy(&mut from, &mut to);
    _ = to.shutdown(Shutdown::Write);
}
