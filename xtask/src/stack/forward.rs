//! Makes a port of 127.0.0.1 reachable for containers, but not for the network. It accepts connections at the address of Docker's
//! bridge and forwards them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};

/// Forwards one port of `bridge` to the same port of 127.0.0.1, until this program ends.
pub fn to_localhost(bridge: IpAddr, port: u16) -> Result<()> {
    let address = SocketAddr::new(bridge, port);
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "cannot listen on {address}, the address at which containers reach this machine. Does another program use the \
             port? Does Docker's engine run on another machine?"
        )
    })?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || forward(&client, port));
        }
    });
    Ok(())
}

fn forward(client: &TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    _ = io::copy(&mut from, &mut to);
    _ = to.shutdown(Shutdown::Write);
}
