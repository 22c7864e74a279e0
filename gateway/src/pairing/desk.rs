//! Where a worker asks the supervisor about a renewal connection: a bounded queue, and an answer for each request.

use tokio::sync::{mpsc, oneshot};

use super::limits::RENEWALS_WAITING_MAX;

/// A request of a worker, whose peer is authenticated.
#[derive(Debug)]
pub struct RenewalRequest {
    /// The identity by which the peer was accepted.
    pub identity: String,
    /// What the peer has sent; `None` at the beginning of the connection.
    pub received: Option<Vec<u8>>,
    /// The answer: what is sent to the peer; `None` if the peer may not renew anything here.
    pub answer: oneshot::Sender<Option<Vec<u8>>>,
}

/// The workers' end of the queue. One that was made by `default` answers nothing.
#[derive(Debug, Clone, Default)]
pub struct RenewalDesk(Option<mpsc::Sender<RenewalRequest>>);

impl RenewalDesk {
    /// A queue.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<RenewalRequest>) {
        // LIMIT: RENEWALS_WAITING_MAX; a further request is answered with `None`.
        let (requests, queue) = mpsc::channel(RENEWALS_WAITING_MAX);
        (Self(Some(requests)), queue)
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, identity: &str, received: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        let request = RenewalRequest {
            identity: identity.to_owned(),
            received,
            answer,
        };
        self.0.as_ref()?.try_send(request).ok()?;
        answered.await.ok().flatten()
    }
}
