//! Every key of the configuration file, by table, with an example of its value.
//!
//! To add a key, add it here, in `file`, in `resolve` and in `packaging/etc/wardgate.toml`.

/// A table and its keys.
#[derive(Debug)]
pub(super) struct Schema {
    /// The header as written in the file; empty for the top of the file.
    pub(super) header: &'static str,
    /// The prefix of the names of inner tables: `route.` for those of a route.
    pub(super) parent: &'static str,
    /// Its keys.
    pub(super) keys: &'static [SchemaKey],
}

impl Schema {
    /// The names of its keys, separated by commas.
    pub(super) fn key_names(&self) -> String {
        let names: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        names.join(", ")
    }
}

/// A key with the form of its value.
#[derive(Debug)]
pub(super) struct SchemaKey {
    /// The name before the equals sign.
    pub(super) name: &'static str,
    /// A valid value in TOML.
    pub(super) example: &'static str,
}

const fn key(name: &'static str, example: &'static str) -> SchemaKey {
    SchemaKey { name, example }
}

/// The top of the file.
pub(super) static ROOT: Schema = Schema {
    header: "",
    parent: "",
    keys: &[
        key("gateway", "{ cores = \"all\" }"),
        key("identity", "{ certificate = \"...\", key = \"...\" }"),
        key("timeouts", "{ connect = \"4s\" }"),
        key("peer", "[ { ... } ]"),
        key("route", "[ { ... } ]"),
    ],
};

/// The settings of the process.
pub(super) static GATEWAY: Schema = Schema {
    header: "[gateway]",
    parent: "",
    keys: &[
        key("cores", "[2, 3]"),
        key("busy_poll", "\"50us\""),
        key("cipher", "\"auto\""),
        key("admin", "\"/run/wardgate/admin.sock\""),
        key("metrics", "\"127.0.0.1:9464\""),
        key("web", "true"),
        key("web_token", "\"/etc/wardgate/web.token\""),
        key("state", "\"/var/lib/wardgate/state\""),
        key("log", "\"text\""),
        key("connections", "20000"),
        key("handshakes_per_second", "1000"),
        key("sandbox", "\"require\""),
        key("run_as", "\"wardgate\""),
        key("reload_ports", "[\"11114\", \"12000-12010\"]"),
    ],
};

/// The identity of this site.
pub(super) static IDENTITY: Schema = Schema {
    header: "[identity]",
    parent: "",
    keys: IDENTITY_KEYS,
};

/// The identity of this site on one route.
pub(super) static ROUTE_IDENTITY: Schema = Schema {
    header: "[route.identity]",
    parent: "route.",
    keys: IDENTITY_KEYS,
};

const IDENTITY_KEYS: &[SchemaKey] = &[
    key("certificate", "\"/etc/wardgate/pki/site.pem\""),
    key("key", "\"/etc/wardgate/pki/site.key\""),
    key("trust", "\"/etc/wardgate/pki/trust.pem\""),
    key("crl", "[\"/etc/wardgate/pki/trust.crl\"]"),
];

/// A peer, and the CAs that may issue certificates for it.
pub(super) static PEER: Schema = Schema {
    header: "[[peer]]",
    parent: "peer.",
    keys: &[
        key("name", "\"region\""),
        key("identity", "\"dns:gw.region.example\""),
        key("trust", "\"/etc/wardgate/pki/region-ca.pem\""),
        key("crl", "[\"/etc/wardgate/pki/region-ca.crl\"]"),
        key("crl_url", "\"http://crl.region.example/region.crl\""),
        key("renew", "true"),
    ],
};

/// The deadlines of all routes.
pub(super) static TIMEOUTS: Schema = Schema {
    header: "[timeouts]",
    parent: "",
    keys: TIMEOUTS_KEYS,
};

/// The deadlines of one route.
pub(super) static ROUTE_TIMEOUTS: Schema = Schema {
    header: "[route.timeouts]",
    parent: "route.",
    keys: TIMEOUTS_KEYS,
};

const TIMEOUTS_KEYS: &[SchemaKey] = &[
    key("handshake", "\"5s\""),
    key("connect", "\"4s\""),
    key("first_byte", "\"5s\""),
    key("idle", "\"never\""),
    key("association_idle", "\"30min\""),
    key("drain", "\"5min\""),
    key("drain_delay", "\"0s\""),
    key(
        "keepalive",
        "{ idle = \"60s\", interval = \"10s\", probes = 6 }",
    ),
    key("user", "\"120s\""),
    key("stall", "\"never\""),
];

/// TCP keepalive.
pub(super) static KEEPALIVE: Schema = Schema {
    header: "keepalive",
    parent: "",
    keys: &[
        key("idle", "\"60s\""),
        key("interval", "\"10s\""),
        key("probes", "6"),
    ],
};

/// One route.
pub(super) static ROUTE: Schema = Schema {
    header: "[[route]]",
    parent: "route.",
    keys: &[
        key("name", "\"pacs-to-region\""),
        key("mode", "\"originate\""),
        key("protocol", "\"dicom\""),
        key("listen", "\"10.20.0.5:11112\""),
        key("interface", "\"lan0\""),
        key("from", "[\"10.20.0.0/16\"]"),
        key("accept_proxy", "[\"10.20.0.5/32\"]"),
        key("carry_source", "true"),
        key("carried_from", "[\"10.30.0.0/16\"]"),
        key("send_proxy", "\"v2\""),
        key("source", "\"transparent\""),
        key("targets", "[\"gw.region.example:2762\"]"),
        key("balance", "\"round-robin\""),
        key("peers", "[\"dns:gw.region.example\"]"),
        key("service", "\"archive\""),
        key("policy", "\"hscn\""),
        key("require_pq", "true"),
        key("hybrid", "false"),
        key("record_layer", "\"in-place\""),
        key("key_records", "16777216"),
        key("observe", "\"strict\""),
        key("rules", "\"report\""),
        key("called_ae", "[\"ARCHIVE\"]"),
        key("calling_ae", "[\"CT_A\", \"MR_B\"]"),
        key("ae_bind", "{ \"CT_A\" = \"dns:gw.a.example\" }"),
        key("commands", "[\"C-ECHO\", \"C-STORE\"]"),
        key("connections", "200"),
        key("connections_per_source", "20"),
        key("connections_per_peer", "100"),
        key("associations", "40"),
        key("associations_per_peer", "20"),
        key("return", "\"region-to-pacs\""),
        key("bandwidth", "\"400Mbit/s\""),
        key("dscp", "\"AF21\""),
        key("connect", "\"early\""),
        key("health", "{ probe = \"connect\" }"),
        key("when_down", "\"refuse\""),
        key(
            "ae",
            "[ { called = \"ARCHIVE\", targets = [\"10.20.0.9:104\"] } ]",
        ),
        key("identity", "{ certificate = \"...\", key = \"...\" }"),
        key("timeouts", "{ connect = \"4s\" }"),
    ],
};

/// A target with the peer that must answer there.
pub(super) static TARGET: Schema = Schema {
    header: "targets",
    parent: "targets.",
    keys: &[
        key("address", "\"gw.region.example:2762\""),
        key("peer", "\"region\""),
        key("connections", "20"),
    ],
};

/// Targets for called AE titles.
pub(super) static ROUTE_AE: Schema = Schema {
    header: "[[route.ae]]",
    parent: "route.ae.",
    keys: &[
        key("called", "[\"ARCHIVE\"]"),
        key("targets", "[\"10.20.0.9:104\"]"),
    ],
};

/// How a route probes its targets.
pub(super) static ROUTE_HEALTH: Schema = Schema {
    header: "[route.health]",
    parent: "route.",
    keys: &[
        key("probe", "\"connect\""),
        key("interval", "\"10s\""),
        key("timeout", "\"5s\""),
        key("rise", "1"),
        key("fall", "3"),
        key("slow_start", "\"30s\""),
        key("calling", "\"WARDGATE\""),
        key("called", "\"ANY-SCP\""),
    ],
};

/// All tables, to find the table that a misplaced key belongs to.
pub(super) static ALL: [&Schema; 12] = [
    &ROOT,
    &GATEWAY,
    &IDENTITY,
    &TIMEOUTS,
    &KEEPALIVE,
    &ROUTE,
    &ROUTE_IDENTITY,
    &ROUTE_TIMEOUTS,
    &ROUTE_AE,
    &ROUTE_HEALTH,
    &PEER,
    &TARGET,
];
