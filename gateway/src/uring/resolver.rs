//! Looks up names on threads that no worker starts.
//!
//! The system's resolver blocks. The supervisor starts one thread, `resolver`, which gives each look-up a thread of its
//! own, so that a name whose server hangs delays no other name. A worker sends a request and awaits the answer: it
//! starts no thread and makes none of the resolver's system calls.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::LookUp;
use crate::measure::ReachedBound;
use crate::thread_sandbox::ThreadSandbox;
use crate::uring::limits::LOOK_UPS_MAX;

/// Sends names to the resolver's thread.
#[derive(Debug, Clone)]
pub struct Resolver {
    requests: mpsc::Sender<LookUpRequest>,
}

#[derive(Debug)]
struct LookUpRequest {
    name: String,
    answer: oneshot::Sender<io::Result<Vec<IpAddr>>>,
}

/// Looks up a name, and blocks for as long as the system's resolver does.
type LookUpNow = fn(&str) -> io::Result<Vec<IpAddr>>;

impl Resolver {
    /// Starts the resolver's thread, restricted by `sandbox`. It ends when the last clone of the result is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(sandbox: &ThreadSandbox) -> io::Result<Self> {
        Self::with(system, sandbox)
    }

    pub(crate) fn with(look_up: LookUpNow, sandbox: &ThreadSandbox) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel(LOOK_UPS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .thread_name("resolver")
            .build()?;
        sandbox.spawn("resolver", move || {
            runtime.block_on(serve(inbox, look_up));
            // A look-up that hangs must not keep the process.
            runtime.shutdown_background();
        })?;
        Ok(Self { requests })
    }

    /// Addresses of `name`, each once, in the system's order.
    pub(super) fn look_up(&self, name: &str) -> LookUp {
        let (requests, name) = (self.requests.clone(), name.to_owned());
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            // A connection that waits here is ended by its deadline.
            let sent = requests.send(LookUpRequest { name, answer }).await;
            sent.map_err(|_| thread_ended())?;
            let found = answered.await.map_err(|_| thread_ended())??;
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the name has no address",
                ));
            }
            Ok(addresses)
        })
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the resolver's thread has ended")
}

async fn serve(mut inbox: mpsc::Receiver<LookUpRequest>, look_up: LookUpNow) {
    // LIMIT: LOOK_UPS_MAX threads. Further requests wait in the channel, which a pool of threads would empty.
    let places = Arc::new(Semaphore::new(LOOK_UPS_MAX));
    while let Some(LookUpRequest { name, answer }) = inbox.recv().await {
        if places.available_permits() == 0 {
            ReachedBound::LookUps.note();
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let _place = place;
            // The connection that asked may have ended.
            let _ = answer.send(look_up(&name));
        });
    }
}

fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}
