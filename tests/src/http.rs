//! An HTTP/1.1 client of a few lines: one request, one connection, on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// `200` and the like.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Fetches a path.
pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[])
}

/// Posts bytes to a path.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> Response {
    request(address, "POST", path, body)
}

/// Sends a request and reads the answer to its end; panics where there is none.
pub fn request(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Response {
    let answer = exchange(address, method, path, body)
        .unwrap_or_else(|error| panic!("{method} http://{address}{path}: {error}"));
    parse(&answer)
        .unwrap_or_else(|| panic!("{method} http://{address}{path}: no HTTP in the answer"))
}

fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let length = body.len();
    // HTTP/1.0, so that the answer is not chunked and ends with the connection.
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    // In one piece: a server waits only a moment for a whole header.
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    Some(Response {
        status: head.split_whitespace().nth(1)?.parse().ok()?,
        body: answer.get(end + 4..)?.to_vec(),
    })
}
