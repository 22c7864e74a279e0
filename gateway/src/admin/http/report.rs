//! Refusals of the HTTP server: each is counted, and one of a kind is logged from time to time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use tokio::time::Instant;

use super::Server;
use crate::admin::limits::{
    EVENT_STREAMS_MAX, METRICS_CONNECTIONS_MAX, METRICS_DEADLINE, METRICS_HEADER_DEADLINE,
    METRICS_REPORT_EVERY, METRICS_REQUEST_BYTES_MAX,
};
use crate::audit::{Event, messages};
pub(super) use crate::metrics::HttpRefusal as Refusal;

/// When each kind was logged last, and how many came since then.
#[derive(Default)]
pub(super) struct HttpReports(RefCell<HashMap<Refusal, (Instant, u64)>>);

impl HttpReports {
    // The number of refusals that were not logged before this one, if this one is to be logged.
    fn take(&self, refusal: Refusal) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = self.0.borrow_mut();
        match kinds.get_mut(&refusal) {
            // LIMIT: METRICS_REPORT_EVERY.
            Some((last, suppressed)) if now - *last < METRICS_REPORT_EVERY => {
                *suppressed = suppressed.saturating_add(1);
                None
            }
            _ => {
                let earlier = kinds.insert(refusal, (now, 0));
                Some(earlier.map_or(0, |(_, suppressed)| suppressed))
            }
        }
    }
}

impl Server {
    /// Counts a refusal, and logs it if none of its kind was logged in the last minute.
    pub(super) fn report(&self, refusal: Refusal, source: IpAddr) {
        self.view.http.refused(refusal);
        let Some(suppressed) = self.reports.take(refusal) else {
            return;
        };
        let what = what(refusal);
        let more = match suppressed {
            0 => String::new(),
            count => format!(" ({count} more like this since the last line)"),
        };
        let text = format!("metrics server: a client at {source} {what}{more}");
        let message = &messages::METRICS_CLIENT_REFUSED;
        self.view.journal.report(Event::Notice { message, text });
    }
}

fn what(refusal: Refusal) -> String {
    match refusal {
        Refusal::Connections => format!(
            "had the most connections when all {METRICS_CONNECTIONS_MAX} were open, so its oldest was closed for a new one"
        ),
        Refusal::HeaderDeadline => format!(
            "did not send a request within {} ms and was disconnected",
            METRICS_HEADER_DEADLINE.as_millis()
        ),
        Refusal::Deadline => format!(
            "did not read its answer within {} s and was disconnected",
            METRICS_DEADLINE.as_secs()
        ),
        Refusal::HeaderBytes => {
            format!(
                "sent a header of more than {METRICS_REQUEST_BYTES_MAX} bytes, or too many fields, and was refused"
            )
        }
        Refusal::Malformed => "sent a request that is not HTTP/1.1 and was refused".to_owned(),
        Refusal::Body => "sent a request with a body and was refused".to_owned(),
        Refusal::Token => "sent a wrong token for the web page and was refused".to_owned(),
        Refusal::Host => "asked for the web page by the name of another host and was refused; use the address, or set \
                          web_token, with which any name is accepted"
            .to_owned(),
        Refusal::Events => format!(
            "got no live updates of the web page, because {EVENT_STREAMS_MAX} pages have them already"
        ),
    }
}
