//! When a route connects, and which key exchanges it allows.

use super::*;

const IDENTITY: &str =
    "[identity]\ncertificate = \"site.pem\"\nkey = \"site.key\"\ntrust = \"trust.pem\"\n";
const TERMINATE: &str = "mode = \"terminate\"\npeers = [\"dns:gw.a.example\"]\n";

/// A route with these lines, in a file whose site has `of_site`.
fn route(protocol: &str, of_site: &str, lines: &str) -> Arc<RouteConfig> {
    let text = format!(
        "{IDENTITY}{of_site}[[route]]\nname = \"in\"\nprotocol = \"{protocol}\"\nlisten = \"127.0.0.1:2575\"\n\
         targets = [\"127.0.0.1:2576\"]\n{lines}"
    );
    let config = parse_good(&text, "wardgate.toml");
    Arc::clone(&config.routes[0])
}

fn terminate(protocol: &str, of_site: &str, lines: &str) -> Arc<RouteConfig> {
    route(protocol, of_site, &format!("{TERMINATE}{lines}\n"))
}

#[test]
fn mllp_clients_may_wait_forever_unless_a_deadline_is_written() {
    let first_byte =
        |protocol, of_site, lines| terminate(protocol, of_site, lines).timeouts.first_byte;
    let seconds = |count| Some(Duration::from_secs(count));
    assert_eq!(first_byte("mllp", "", ""), None);
    assert_eq!(first_byte("dicom", "", ""), seconds(5));
    let of_site = "[timeouts]\nfirst_byte = \"30s\"\n";
    assert_eq!(first_byte("mllp", of_site, ""), seconds(30));
    assert_eq!(first_byte("dicom", of_site, ""), seconds(30));
    let written = "timeouts = { first_byte = \"7s\" }";
    assert_eq!(first_byte("mllp", of_site, written), seconds(7));
    let never = "timeouts = { first_byte = \"never\" }";
    assert_eq!(first_byte("dicom", "", never), None);
    let passthrough = route("mllp", "", "mode = \"passthrough\"\n");
    assert_eq!(
        passthrough.timeouts.first_byte,
        seconds(5),
        "TLS begins at once"
    );
}

#[test]
fn a_route_connects_early_if_connect_says_early() {
    let connect = |lines| terminate("mllp", "", lines).connect;
    assert_eq!(connect(""), Connect::Late);
    assert_eq!(connect("connect = \"late\""), Connect::Late);
    assert_eq!(connect("connect = \"early\""), Connect::Early);
}

#[test]
fn the_hybrid_key_exchange_is_preferred_required_or_turned_off() {
    let key_exchange = |lines| {
        let route = terminate("tcp", "", lines);
        route.tls.as_ref().map(|tls| tls.key_exchange)
    };
    assert_eq!(key_exchange(""), Some(KeyExchange::HybridPreferred));
    assert_eq!(
        key_exchange("hybrid = true"),
        Some(KeyExchange::HybridPreferred)
    );
    let required = "hybrid = true\nrequire_pq = true";
    assert_eq!(key_exchange(required), Some(KeyExchange::HybridRequired));
    assert_eq!(key_exchange("hybrid = false"), Some(KeyExchange::Classical));
}
