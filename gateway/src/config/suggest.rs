//! Suggestions for unknown keys and keywords.

use strsim::osa_distance;

use super::schema::{ALL, Schema};

/// The advice for an unknown key in the table of `schema`.
pub(super) fn remedy(key: &str, schema: &Schema) -> String {
    if let Some(remedy) = key_of_another_program(key, schema) {
        return remedy;
    }
    let names = schema.keys.iter().map(|key| key.name);
    let table_with_key = table_with_key(key, schema);
    // A key that exists in another table is not a misspelling of a similar key here, but may be short for
    // one.
    let near = nearest(key, names).filter(|near| table_with_key.is_none() || near.starts_with(key));
    if let Some(near) = near {
        return format!("did you mean {near:?}?");
    }
    if let Some(table) = table_with_key {
        return format!("it belongs in {table}");
    }
    format!("the keys of this table are {}", schema.key_names())
}

/// The word in `known` that is probably meant by `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances are quadratic in the length, and no key is as long as this.
    if word.len() > 40 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let distances = known.into_iter().map(|known| {
        (
            osa_distance(&word, &known.to_lowercase().replace('-', "_")),
            known,
        )
    });
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    let longest = word.chars().count().max(near.len());
    (distance * 3 <= longest).then_some(near)
}

/// Another table that has exactly this key; a table of the route if the key is in a route.
fn table_with_key(key: &str, schema: &Schema) -> Option<&'static str> {
    let mut tables = ALL
        .iter()
        .filter(|other| other.keys.iter().any(|known| known.name == key));
    let near = tables
        .clone()
        .find(|other| other.parent == schema.parent && !other.header.is_empty());
    near.or_else(|| tables.find(|other| !other.header.is_empty()))
        .map(|table| table.header)
}

/// Keys of other programs, with the key of wardgate that has the same meaning.
fn key_of_another_program(key: &str, schema: &Schema) -> Option<String> {
    let lower = key.to_lowercase().replace('-', "_");
    if matches!(
        lower.as_str(),
        "verify" | "verify_peer" | "insecure" | "skip_verify" | "verify_client"
    ) {
        return Some("peers are always verified and no key turns that off; remove it".to_owned());
    }
    let meant = match lower.as_str() {
        "cert" | "certs" | "crt" | "certfile" | "cert_file" => "certificate",
        "keyfile" | "key_file" | "private_key" => "key",
        "ca" | "cafile" | "ca_file" | "cacert" | "roots" | "truststore" => "trust",
        "crls" | "revocation" => "crl",
        "device" | "bind_device" | "bind_interface" | "nic" => "interface",
        "bind" | "address" | "accept" | "port" | "source" => "listen",
        "backend" | "backends" | "upstream" | "upstreams" | "destination" | "connect_to"
        | "forward" | "to" => "targets",
        "allow" | "allowed" | "allowed_peers" | "san" | "sans" | "verify_name" => "peers",
        "dns" | "names" | "subject" => "identity",
        "host" => "address",
        "label" | "alpn" | "sni" => "service",
        "sources" | "source_networks" | "allow_from" | "networks" | "acl" => "from",
        "accept-proxy" | "proxy_protocol" | "proxies" | "trusted_proxies" => "accept_proxy",
        "send-proxy" | "send-proxy-v2" | "send_proxy_v2" | "proxy_out" => "send_proxy",
        "transparent" | "usesrc" | "tproxy" => "source",
        "rate" | "rate_limit" | "speed" | "throughput" | "shaping" => "bandwidth",
        "tos" | "qos" | "diffserv" | "traffic_class" => "dscp",
        "type" | "direction" => "mode",
        "ciphers" | "suites" | "tls_version" | "min_version" => "policy",
        "workers" | "threads" | "cpus" => "cores",
        "inspect" | "inspection" | "sniff" => "observe",
        "healthcheck" | "health_check" | "probe" | "check" => "health",
        "max_connections" | "connections_max" | "maxconn" => "connections",
        "connections_per_address" | "connections_per_ip" | "per_source" => "connections_per_source",
        "max_associations" | "associations_max" => "associations",
        "max_associations_per_peer" | "peer_associations" => "associations_per_peer",
        "services" | "operations" | "dimse" | "allow_commands" => "commands",
        "return_route" | "returns" | "back" => "return",
        _ => return None,
    };
    let meant = match schema.header {
        "[[peer]]" if meant == "peers" => "identity",
        _ => meant,
    };
    let known = schema.keys.iter().any(|key| key.name == meant);
    known.then(|| format!("did you mean {meant:?}?"))
}
