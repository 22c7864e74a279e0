//! Metrics of the loaded files: routes closed because of their files, and expiry dates.

use std::fmt;

use super::openmetrics::{Writer, labels};

/// The results of loading the files of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Every route of the configuration by its name, and whether it is closed.
    pub routes: Vec<(String, bool)>,
    /// Peers that a route refuses because of their files: the names of route and peer. The peer's name is
    /// empty for identities that the route lists itself.
    pub refused: Vec<(String, String)>,
    /// The expiry dates.
    pub expiries: Vec<FileExpiry>,
}

/// The earliest expiry among the certificates or lists in the files of one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileExpiry {
    /// The label of the owner, `route` or `peer`, and its name.
    pub owner: (&'static str, String),
    /// The configuration key of the file.
    pub file: &'static str,
    /// Whether it is a revocation list.
    pub is_list: bool,
    /// Seconds since 1970.
    pub ends: i64,
}

impl Files {
    /// Writes the metrics.
    pub(super) fn write(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let named = (
            "wardgate_route_closed",
            "Whether the route is closed because of a bad file; the log names the file.",
        );
        let rows = self.routes.iter();
        let rows = rows.map(|(route, closed)| (labels([("route", route)]), i64::from(*closed)));
        writer.gauges(named, rows)?;
        let named = (
            "wardgate_peer_closed",
            "Peers that the route refuses because of a bad file; the log names the file.",
        );
        let rows = self.refused.iter();
        let rows = rows.map(|(route, peer)| (labels([("route", route), ("peer", peer)]), 1));
        writer.gauges(named, rows)?;
        let named = (
            "wardgate_certificate_expiry_timestamp_seconds",
            "Earliest expiry of the certificates in the file, in seconds since 1970.",
        );
        let rows = self.expiries.iter().filter(|row| !row.is_list);
        let rows = rows.map(|row| {
            let (label, owner) = &row.owner;
            (labels([(label, owner), ("file", row.file)]), row.ends)
        });
        writer.gauges(named, rows)?;
        let named = (
            "wardgate_crl_expiry_timestamp_seconds",
            "Earliest expiry of the owner's revocation lists, in seconds since 1970.",
        );
        let rows = self.expiries.iter().filter(|row| row.is_list);
        let rows = rows.map(|row| (labels([(row.owner.0, &row.owner.1)]), row.ends));
        writer.gauges(named, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_routes_refused_peers_and_expiry_dates_are_shown() {
        let expiry = |owner: (&'static str, &str), file, is_list, ends| FileExpiry {
            owner: (owner.0, owner.1.to_owned()),
            file,
            is_list,
            ends,
        };
        let files = Files {
            routes: vec![("a".to_owned(), false), ("b".to_owned(), true)],
            refused: vec![("a".to_owned(), "region".to_owned())],
            expiries: vec![
                expiry(("route", "a"), "certificate", false, 1_800_000_000),
                expiry(("peer", "region"), "crl", true, 1_700_000_000),
            ],
        };
        let snapshot = crate::metrics::Snapshot {
            files,
            ..crate::metrics::Snapshot::default()
        };
        let text = snapshot.text();
        for line in [
            "wardgate_route_closed{route=\"a\"} 0\n",
            "wardgate_route_closed{route=\"b\"} 1\n",
            "wardgate_peer_closed{route=\"a\",peer=\"region\"} 1\n",
            "wardgate_certificate_expiry_timestamp_seconds{route=\"a\",file=\"certificate\"} 1800000000\n",
            "wardgate_crl_expiry_timestamp_seconds{peer=\"region\"} 1700000000\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
