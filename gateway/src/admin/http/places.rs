//! The places for connections to the HTTP server, and which connection ends when all are taken.

use std::collections::VecDeque;
use std::net::IpAddr;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::admin::limits::{METRICS_CONNECTIONS_MAX, METRICS_GRACE};
use crate::client_source::Source;

/// The open connections, oldest first.
#[derive(Default)]
pub(super) struct HttpPlaces(VecDeque<HttpConnection>);

struct HttpConnection {
    source: IpAddr,
    since: Instant,
    task: AbortHandle,
}

impl HttpPlaces {
    /// Waits until there is a place; returns the addresses of the connections that were ended for it.
    // LIMIT: METRICS_CONNECTIONS_MAX. The address with the most connections loses its oldest one, so that a
    // flood from one address cannot end connections of others.
    pub(super) async fn make_room(&mut self) -> Vec<IpAddr> {
        let mut ended = Vec::new();
        loop {
            self.0.retain(|one| !one.task.is_finished());
            let Some(at) = self.to_be_ended() else {
                return ended;
            };
            let age = self.0.get(at).map(|one| one.since.elapsed());
            let grace = METRICS_GRACE.saturating_sub(age.unwrap_or_default());
            if !grace.is_zero() {
                sleep(grace).await;
            } else if let Some(one) = self.0.remove(at) {
                one.task.abort();
                ended.push(one.source);
            }
        }
    }

    fn to_be_ended(&self) -> Option<usize> {
        if self.0.len() < METRICS_CONNECTIONS_MAX {
            return None;
        }
        let count = |source: IpAddr| {
            let of_it = |one: &&HttpConnection| Source::from(one.source) == Source::from(source);
            self.0.iter().filter(of_it).count()
        };
        // `max_by_key` returns the last of equal elements, so the youngest come first.
        let youngest_first = self.0.iter().enumerate().rev();
        let most = youngest_first.max_by_key(|(_, one)| count(one.source));
        most.map(|(at, _)| at)
    }

    /// Counts a connection.
    pub(super) fn add(&mut self, source: IpAddr, task: AbortHandle) {
        let since = Instant::now();
        self.0.push_back(HttpConnection {
            source,
            since,
            task,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    // Connections from these addresses that never end, oldest first.
    fn connections(sources: impl Iterator<Item = u8>) -> HttpPlaces {
        let mut places = HttpPlaces::default();
        for last in sources {
            let task = tokio::spawn(std::future::pending::<()>());
            places.add(source(last), task.abort_handle());
        }
        places
    }

    fn left(places: &HttpPlaces, last: u8) -> usize {
        let mut left = places.0.iter();
        left.by_ref()
            .filter(|one| one.source == source(last))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_address_ends_no_connection_of_others() {
        let others = METRICS_CONNECTIONS_MAX - 2;
        let mut places = connections([1].into_iter().chain((0..others).map(|_| 2)).chain([3]));
        for _ in 0..3 * METRICS_CONNECTIONS_MAX {
            places.make_room().await;
            let task = tokio::spawn(std::future::pending::<()>());
            places.add(source(2), task.abort_handle());
            assert!(places.0.len() <= METRICS_CONNECTIONS_MAX);
        }
        assert_eq!((left(&places, 1), left(&places, 3)), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_is_not_ended_before_its_grace_time() {
        let mut places = connections((0..METRICS_CONNECTIONS_MAX).map(|_| 1));
        let start = Instant::now();
        places.make_room().await;
        assert_eq!(start.elapsed(), METRICS_GRACE);
        assert_eq!(places.0.len(), METRICS_CONNECTIONS_MAX - 1);
    }
}
