//! Other settings of a route: options of its lines, the client's address, timeouts.

use std::collections::BTreeMap;

use super::super::address::ProtocolGuess;
use super::super::draft::{ModeDraft, fill_in, list, quoted};
use super::super::report::{ImportClass, ImportReport};
use super::parts::{Parts, duration, last};
use super::server::ServerLine;
use super::{Proxy, options};

use ImportClass::{Carried, NotCarried, Stricter};

impl Parts<'_> {
    /// Other options of the `bind` and `server` lines.
    pub(super) fn side_options(
        &self,
        servers: &[&ServerLine<'_>],
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut ImportReport,
    ) {
        for (name, value) in &self.bind_options {
            let (class, sentence) = match *name {
                "interface"
                    if !value.is_empty()
                        && value.len() <= 15
                        && value.bytes().all(|b| b.is_ascii_alphanumeric()) =>
                {
                    keys.insert("interface", quoted(value));
                    (Carried, format!("interface = {}", quoted(value)))
                }
                "accept-proxy" => {
                    let networks =
                        fill_in("write the addresses of the proxies, for example \"10.20.0.6/32\"");
                    keys.insert("accept_proxy", list([&networks]));
                    let sentence = "accept-proxy: HAProxy believes every client; write the addresses of the proxies in \
                        `accept_proxy`";
                    (Stricter, sentence.to_owned())
                }
                "transparent" => (
                    NotCarried,
                    "transparent: clients must connect to an address of the gateway".to_owned(),
                ),
                _ => match options::remark(name, value) {
                    Some(remark) => remark,
                    None => continue,
                },
            };
            report.add(&self.bind.place, &self.bind.text, class, sentence);
        }
        for server in servers {
            for (name, value) in server.options() {
                if let Some((class, sentence)) = options::remark(name, value) {
                    report.add(&server.line.place, &server.line.text, class, sentence);
                }
            }
        }
        let bind = last(&self.bind_options, "maxconn");
        let line = self.front.last(&["maxconn"]);
        let number = bind
            .or_else(|| Some(line?.word(1)))
            .and_then(|text| text.parse::<u64>().ok());
        if let Some(number) = number.filter(|number| (1..=1 << 20).contains(number)) {
            keys.insert("connections", number.to_string());
            let line = line.filter(|_| bind.is_none()).unwrap_or(self.bind);
            let sentence = format!("maxconn: connections = {number} of the route");
            report.add(&line.place, &line.text, Carried, sentence);
        }
        self.source(servers, keys, report);
    }

    pub(super) fn source(
        &self,
        servers: &[&ServerLine<'_>],
        keys: &mut BTreeMap<&'static str, String>,
        report: &mut ImportReport,
    ) {
        let of_proxy = self.back.last(&["source"]);
        let of_proxy =
            of_proxy.map(|line| (line, line.words.iter().any(|word| word == "clientip")));
        let of_servers = servers.iter().filter(|server| server.has("source"));
        let of_servers =
            of_servers.map(|server| (server.line, server.value("usesrc") == Some("clientip")));
        for (line, is_client) in of_proxy.into_iter().chain(of_servers) {
            let (class, sentence) = match (is_client, self.mode) {
                (true, ModeDraft::Terminate) => {
                    keys.insert("source", quoted("transparent"));
                    (
                        Carried,
                        "source = \"transparent\"; the routing that HAProxy needed is needed here too: see the chapter \"The \
                         address of the client\" of the guide",
                    )
                }
                (true, _) => (
                    NotCarried,
                    "only terminate routes connect from the client's address; carry_source = true at both gateways sends \
                     it inside TLS",
                ),
                (false, _) => (
                    NotCarried,
                    "source: wardgate has no key for its own source address; set it in the routing table: `ip route replace \
                     NETWORK via ROUTER src ADDRESS`",
                ),
            };
            report.add(&line.place, &line.text, class, sentence);
        }
    }

    pub(super) fn timeouts(
        &self,
        timeouts: &mut BTreeMap<&'static str, String>,
        report: &mut ImportReport,
    ) {
        let line = |proxy: &Proxy<'_>, name| {
            proxy
                .last(&["timeout", name])
                .map(|line| line.place.clone())
        };
        let read =
            |proxy: &Proxy<'_>, name| options::millis(proxy.last(&["timeout", name])?.word(2));
        if let Some(connect) = self.back.last(&["timeout", "connect"]) {
            let millis =
                options::millis(connect.word(2)).filter(|millis| (100..=60_000).contains(millis));
            let (class, sentence) = match millis {
                Some(millis) => {
                    let text = duration(millis);
                    let sentence = format!(
                        "timeouts.connect = {text}, which all targets of the route share; modalities give up after about \
                         5 s"
                    );
                    timeouts.insert("connect", text);
                    (Carried, sentence)
                }
                None => (
                    Stricter,
                    "the time to connect is \"4s\" (timeouts.connect), and 60 s at most".to_owned(),
                ),
            };
            report.add(&connect.place, &connect.text, class, sentence);
        }
        // The tunnel timeout takes the place of the other two.
        let sides = [(self.front, "client"), (self.back, "server")];
        let tunnel = read(self.back, "tunnel");
        let longest = tunnel.or_else(|| {
            sides
                .iter()
                .filter_map(|(proxy, name)| read(proxy, name))
                .max()
        });
        let longest = longest
            .filter(|millis| (1000..=30 * 86_400_000).contains(millis))
            .map(duration);
        let (class, sentence) = match (self.protocol, self.mode, longest) {
            (_, _, None) => (
                NotCarried,
                "silent connections stay open; dead peers are found by timeouts.keepalive".to_owned(),
            ),
            (ProtocolGuess::Tcp, _, Some(text)) | (_, ModeDraft::Passthrough, Some(text)) => {
                let sentence = format!("timeouts.idle = {text}: silence on both sides, the longest of these times");
                timeouts.insert("idle", text);
                (Carried, sentence)
            }
            (ProtocolGuess::Dicom, _, Some(text)) => {
                let sentence = format!(
                    "timeouts.association_idle = {text}: it ends a silent association only if no request is outstanding, \
                     with an A-ABORT to both applications"
                );
                timeouts.insert("association_idle", text);
                (Carried, sentence)
            }
            (ProtocolGuess::Mllp, _, Some(_)) => (
                NotCarried,
                "a silent HL7 connection is not ended, because engines keep it open for hours between messages; dead peers \
                 are found by timeouts.keepalive"
                    .to_owned(),
            ),
        };
        for (proxy, name) in sides.into_iter().chain([(self.back, "tunnel")]) {
            if line(proxy, name).is_some()
                && let Some(used) = proxy.last(&["timeout", name])
            {
                report.add(&used.place, &used.text, class, sentence.clone());
            }
        }
    }
}
