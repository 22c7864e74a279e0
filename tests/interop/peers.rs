//! Foreign programs for the tests, and their common options.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wardgate_tests::tier::Need;
use wardgate_tests::{Background, Program};

/// The DICOM programs of DCMTK that most tests need.
pub(crate) const DCMTK: [Need; 4] = [
    Need::Program("echoscu"),
    Need::Program("storescu"),
    Need::Program("storescp"),
    Need::Program("dcmsend"),
];

/// `127.0.0.1:port`.
pub(crate) fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A storage provider that writes received objects unchanged into a folder.
pub(crate) fn storescp(port: u16, folder: &Path) -> Background {
    Background::listening(&storescp_with(port, folder, &[]), port)
}

/// The same as a program that is not yet running, with options of its own.
pub(crate) fn storescp_with(port: u16, folder: &Path, options: &[&str]) -> Program {
    Program::new("storescp")
        .args(["-dhl", "+B", "+uf", "-pm", "+xa", "-od"])
        .arg(folder)
        .args(options)
        .arg(port.to_string())
}

/// `storescu` with options, sending files to a port on loopback.
pub(crate) fn storescu(port: u16, options: &[&str], files: &[PathBuf]) -> Program {
    Program::new("storescu")
        .args(options)
        .args(["127.0.0.1", &port.to_string()])
        .args(files)
}

/// A server that sends back received bytes, and counts its connections. It ends with the process.
pub(crate) struct Echo {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("it is bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || echo(stream));
            }
        });
        Self { port, connections }
    }

    /// The number of its connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        // The client may be gone; then the next read shows it.
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() || stream.write_all(bytes).is_err() {
            return;
        }
    }
}
