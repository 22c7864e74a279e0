//! Rules that accept or reject a connection by the address of its client: the key `from` of the route.
//!
//! HAProxy takes the first rule that applies, so the rules are read from the last to the first: each one adds clients to
//! those that the rules below it allow, or takes some away. Rules that cannot be read exactly never make the result
//! smaller: if such a rule rejects clients, `from` gets a placeholder, so that the route is not used without it.

use std::net::IpAddr;

use super::super::draft::{fill_in, list};
use super::super::report::{ImportClass, ImportReport};
use super::Proxy;
use super::lines::WordLine;
use super::parts::Parts;
use crate::config::IpNetwork;
use crate::config::limits::NETWORKS_MAX;

use ImportClass::{Carried, NotCarried};

/// A set of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Clients {
    /// Those in one of these networks.
    Only(Vec<IpNetwork>),
    /// Those in none of these networks.
    AllBut(Vec<IpNetwork>),
}

impl Clients {
    const EVERYONE: Self = Self::AllBut(Vec::new());

    fn not(self) -> Self {
        match self {
            Self::Only(networks) => Self::AllBut(networks),
            Self::AllBut(networks) => Self::Only(networks),
        }
    }

    /// The clients in both sets; `None` if networks cannot express it.
    fn and(self, other: Self) -> Option<Self> {
        let both = match (self, other) {
            (Self::Only(one), Self::Only(other)) => {
                let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
                let common = pairs.filter_map(|(a, b)| match (a.covers(b), b.covers(a)) {
                    (true, _) => Some(*b),
                    (_, true) => Some(*a),
                    _ => None,
                });
                Self::Only(widest(common.collect()))
            }
            (Self::AllBut(one), Self::AllBut(other)) => Self::AllBut(widest([one, other].concat())),
            (Self::Only(only), Self::AllBut(but)) | (Self::AllBut(but), Self::Only(only)) => {
                let is_out = |network: &IpNetwork| but.iter().any(|one| one.covers(network));
                let rest: Vec<_> = only.into_iter().filter(|one| !is_out(one)).collect();
                if rest
                    .iter()
                    .any(|network| but.iter().any(|one| network.covers(one)))
                {
                    return None;
                }
                Self::Only(rest)
            }
        };
        let (Self::Only(networks) | Self::AllBut(networks)) = &both;
        // LIMIT: NETWORKS_MAX.
        (networks.len() <= NETWORKS_MAX).then_some(both)
    }

    fn or(self, other: Self) -> Option<Self> {
        Some(self.not().and(other.not())?.not())
    }
}

/// The networks without those that others cover.
fn widest(networks: Vec<IpNetwork>) -> Vec<IpNetwork> {
    let mut widest: Vec<IpNetwork> = Vec::new();
    for network in networks {
        if !widest.iter().any(|known| known.covers(&network)) {
            widest.retain(|known| !network.covers(known));
            widest.push(network);
        }
    }
    widest
}

/// What the rules of one kind in one section allow.
struct RuleSet<'a> {
    clients: Clients,
    /// Rules and conditions that are part of it.
    used: Vec<&'a WordLine>,
    /// Rules that are left out.
    refused: Vec<&'a WordLine>,
}

impl Parts<'_> {
    /// The value of `from`; `None` if every client may connect.
    pub(super) fn from(&self, report: &mut ImportReport) -> Option<String> {
        let has_proxy = self
            .bind_options
            .iter()
            .any(|(name, _)| *name == "accept-proxy");
        let is_one = std::ptr::eq(self.front, self.back);
        let of_back = (!is_one).then_some((self.back, "content"));
        let of_front = ["connection", "session", "content"].map(|kind| (self.front, kind));
        let mut clients = Clients::EVERYONE;
        let mut used = Vec::new();
        let doubtful = self.front.doubtful.iter().chain(&self.back.doubtful);
        let doubtful = doubtful.copied().filter(|line| rejects(line));
        let mut lost: Vec<_> = doubtful.collect();
        for (proxy, kind) in of_front.into_iter().chain(of_back) {
            let set = rules(proxy, kind);
            for line in &set.refused {
                refuse(
                    line,
                    "it could not be carried over: `from` lists networks that may connect, and this rule needs something \
                     else. Write these networks in `from`, or use a packet filter",
                    report,
                );
            }
            if kind == "connection" && has_proxy && !set.used.is_empty() {
                for line in &set.used {
                    refuse(
                        line,
                        "it could not be carried over: it sees the address of the proxy, and `from` that of the client in \
                         the header. Write the networks of the proxies in `accept_proxy`",
                        report,
                    );
                }
                continue;
            }
            // Where a proxy connects, `accept_proxy` has a placeholder.
            if kind != "connection" || !has_proxy {
                lost.extend(set.refused.iter().copied().filter(|line| rejects(line)));
            }
            match set.clients.and(clients.clone()) {
                Some(both) => {
                    clients = both;
                    used.extend(set.used);
                }
                None => {
                    lost.extend(set.used.iter().copied().filter(|line| rejects(line)));
                    for line in &set.used {
                        refuse(
                            line,
                            "it could not be carried over: with the rules before it, the clients that may connect are no \
                             list of networks. Write them in `from`",
                            report,
                        );
                    }
                }
            }
        }
        let (class, sentence, networks) = match clients {
            Clients::Only(networks) if !networks.is_empty() => {
                let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
                (Carried, format!("from = {}", list(&networks)), networks)
            }
            Clients::Only(_) => (
                NotCarried,
                "it could not be carried over: the rules reject every client; remove the route, or write `from`"
                    .to_owned(),
                Vec::new(),
            ),
            Clients::AllBut(networks) if networks.is_empty() => (
                Carried,
                "these rules let every client pass, as a route without `from` does".to_owned(),
                Vec::new(),
            ),
            Clients::AllBut(_) => (
                NotCarried,
                "it could not be carried over: the rules list the networks that may not connect, and `from` those that may. \
                 Write the networks of your clients in `from`, or use a packet filter"
                    .to_owned(),
                Vec::new(),
            ),
        };
        if class == NotCarried {
            lost.extend(used.iter().copied().filter(|line| rejects(line)));
        }
        for line in used {
            report.add(&line.place, &line.text, class, sentence.clone());
        }
        let open = lost.first().map(|line| placeholder(line, &networks));
        let all: Vec<_> = networks.into_iter().chain(open).collect();
        (!all.is_empty()).then(|| list(&all))
    }
}

/// Whether a rule takes clients away.
fn rejects(line: &WordLine) -> bool {
    line.word(0) == "tcp-request" && matches!(line.word(2), "reject" | "silent-drop")
}

/// What stands in `from` for a rule that is left out, after the networks of the other rules.
fn placeholder(lost: &WordLine, networks: &[String]) -> String {
    let line = lost.place.line;
    fill_in(&match networks.is_empty() {
        true => format!(
            "write the networks of the clients that may connect, for example \"10.20.0.0/16\": line {line} of the old file \
             rejects others"
        ),
        false => format!(
            "line {line} of the old file rejects some of these clients: write only the networks of clients that may \
             connect, or remove this entry if all of them may"
        ),
    })
}

fn refuse(line: &WordLine, sentence: &str, report: &mut ImportReport) {
    report.add(&line.place, &line.text, NotCarried, sentence);
}

/// Reads the rules of one kind: `connection`, `session` or `content`.
fn rules<'a>(proxy: &Proxy<'a>, kind: &str) -> RuleSet<'a> {
    let mut set = RuleSet {
        clients: Clients::EVERYONE,
        used: Vec::new(),
        refused: Vec::new(),
    };
    let all: Vec<_> = proxy
        .all("tcp-request")
        .filter(|line| line.word(1) == kind)
        .collect();
    // These change the address that later rules see.
    let changes = ["set-src", "expect-proxy", "expect-netscaler-cip"];
    let is_changed = proxy
        .all("tcp-request")
        .any(|line| changes.contains(&line.word(2)));
    for line in all.into_iter().rev() {
        let is_accept = match line.word(2) {
            "accept" => true,
            _ if rejects(line) => false,
            // The others decide nothing; they have a remark of their own.
            _ => continue,
        };
        let read = condition(proxy, line.words.get(3..).unwrap_or_default());
        let next = read.filter(|_| !is_changed).and_then(|(chosen, acls)| {
            let clients = set.clients.clone();
            let next = if is_accept {
                chosen.or(clients)
            } else {
                clients.and(chosen.not())
            };
            Some((next?, acls))
        });
        match next {
            Some((clients, acls)) => {
                set.clients = clients;
                set.used.push(line);
                set.used.extend(acls);
            }
            None => {
                set.refused.push(line);
                if is_accept {
                    // It may accept any client, whatever the rules below it reject.
                    set.refused.append(&mut set.used);
                    set.clients = Clients::EVERYONE;
                }
            }
        }
    }
    set
}

/// The clients for which a condition is true, and the `acl` lines in it. `None` if it is about anything but the address
/// of the client.
fn condition<'a>(proxy: &Proxy<'a>, words: &[String]) -> Option<(Clients, Vec<&'a WordLine>)> {
    let Some((word, terms)) = words.split_first() else {
        return Some((Clients::EVERYONE, Vec::new()));
    };
    let is_unless = match word.as_str() {
        "if" => false,
        "unless" => true,
        _ => return None,
    };
    let mut any = Clients::Only(Vec::new());
    let mut lines = Vec::new();
    for alternative in terms.split(|word| word == "or" || word == "||") {
        let mut all = Clients::EVERYONE;
        let mut rest = alternative.iter().map(String::as_str);
        let mut has_terms = false;
        while let Some(word) = rest.next() {
            let mut name = word;
            let mut is_not = false;
            while let Some(after) = name.strip_prefix('!') {
                is_not = !is_not;
                name = if after.is_empty() {
                    rest.next()?
                } else {
                    after
                };
            }
            let term = if name == "{" {
                let inside: Vec<_> = rest.by_ref().take_while(|word| *word != "}").collect();
                source(&inside)?
            } else {
                named(proxy, name, &mut lines)?
            };
            all = all.and(if is_not { term.not() } else { term })?;
            has_terms = true;
        }
        if !has_terms {
            return None;
        }
        any = any.or(all)?;
    }
    Some((if is_unless { any.not() } else { any }, lines))
}

/// The clients of a named condition: several lines of one name are alternatives.
fn named<'a>(proxy: &Proxy<'a>, name: &str, lines: &mut Vec<&'a WordLine>) -> Option<Clients> {
    let own: Vec<_> = proxy
        .all("acl")
        .filter(|line| line.word(1) == name)
        .collect();
    let is_doubtful = |line: &&WordLine| line.begins(&["acl", name]);
    if proxy.doubtful.iter().any(is_doubtful) {
        return None;
    }
    if own.is_empty() {
        // Conditions that HAProxy has by itself.
        return match name {
            "TRUE" => Some(Clients::EVERYONE),
            "FALSE" => Some(Clients::EVERYONE.not()),
            "LOCALHOST" => source(&["src", "127.0.0.0/8"]),
            _ => None,
        };
    }
    let mut any = Clients::Only(Vec::new());
    for line in own {
        let words = line.words.get(2..).unwrap_or_default();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        any = any.or(source(&words)?)?;
        lines.push(line);
    }
    Some(any)
}

/// The clients of `src ADDRESS...`. Files and names are not read.
fn source(words: &[&str]) -> Option<Clients> {
    let ("src", mut values) = words.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    while let Some((flag, rest)) = values
        .split_first()
        .filter(|(word, _)| word.starts_with('-'))
    {
        values = match *flag {
            "-i" | "-n" | "--" => rest,
            "-m" => rest.strip_prefix(&["ip"])?,
            _ => return None,
        };
    }
    let networks: Option<Vec<_>> = values.iter().map(|value| network(value)).collect();
    let networks = widest(networks.filter(|networks| !networks.is_empty())?);
    // LIMIT: NETWORKS_MAX.
    (networks.len() <= NETWORKS_MAX).then_some(Clients::Only(networks))
}

/// A network as HAProxy writes it: with a prefix length, a mask, or neither for one address.
fn network(text: &str) -> Option<IpNetwork> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(prefix) => match prefix.parse::<std::net::Ipv4Addr>() {
            Ok(mask) if address.is_ipv4() => {
                let ones = mask.to_bits().leading_ones();
                let is_mask = mask.to_bits().count_ones() == ones;
                u8::try_from(ones).ok().filter(|_| is_mask)?
            }
            _ => prefix.parse().ok()?,
        },
    };
    IpNetwork::new(address, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of the connection rules of a section with these lines.
    fn allowed(lines: &str) -> (Clients, usize) {
        let text = format!("listen a\n{lines}\n");
        let (sections, _) = super::super::lines::sections(&text);
        let proxies = super::super::proxies(&sections);
        let proxy = proxies.first().expect("it has a section");
        let set = rules(proxy, "connection");
        (set.clients, set.refused.len())
    }

    fn only(networks: &[&str]) -> Clients {
        Clients::Only(networks.iter().filter_map(|text| network(text)).collect())
    }

    const LAN: &str = "acl lan src 10.0.0.0/8\nacl lan src 192.168.1.5\nacl ward src 10.9.0.0/255.255.0.0\n\
        acl name req.ssl_sni -i a\nacl file src -f /etc/lan\nacl two src 10.0.0.1\nacl two src \"$LAN\"\n";

    #[test]
    fn the_first_rule_that_applies_decides_which_clients_connect() {
        let lan = || only(&["10.0.0.0/8", "192.168.1.5"]);
        let cases = [
            ("reject if !lan", lan()),
            ("reject unless lan", lan()),
            ("silent-drop if ! lan", lan()),
            ("accept if lan\nreject", lan()),
            ("reject if !{ src 10.0.0.5 }", only(&["10.0.0.5"])),
            ("reject if !lan\nreject if !ward", only(&["10.9.0.0/16"])),
            (
                "accept if ward\nreject if !{ src 172.16.0.0/12 }",
                only(&["10.9.0.0/16", "172.16.0.0/12"]),
            ),
            (
                "reject unless lan or { src fd00::/8 }",
                only(&["fd00::/8", "10.0.0.0/8", "192.168.1.5"]),
            ),
            (
                "reject if !lan !{ src 172.16.0.1 }",
                only(&["10.0.0.0/8", "192.168.1.5", "172.16.0.1"]),
            ),
            (
                "reject if { src 192.168.1.0/24 }\nreject if !lan",
                only(&["10.0.0.0/8"]),
            ),
            ("reject if lan", lan().not()),
            ("accept if lan", Clients::EVERYONE),
            ("reject", only(&[])),
        ];
        for (rules, expected) in cases {
            let rules = rules.replace('\n', "\ntcp-request connection ");
            let (clients, refused) = allowed(&format!("{LAN}tcp-request connection {rules}"));
            let sorted = |clients: Clients| {
                let (mut texts, is_only): (Vec<_>, _) = match clients {
                    Clients::Only(networks) => (networks, true),
                    Clients::AllBut(networks) => (networks, false),
                };
                texts.sort_by_key(ToString::to_string);
                (texts, is_only)
            };
            assert_eq!(sorted(clients), sorted(expected), "{rules}");
            assert_eq!(refused, 0, "{rules}");
        }
    }

    #[test]
    fn a_rule_about_anything_else_is_left_out_and_takes_no_client_away() {
        let lan = || only(&["10.0.0.0/8", "192.168.1.5"]);
        let cases = [
            ("reject if name\nreject if !lan", lan(), 1),
            ("reject if lan name", Clients::EVERYONE, 1),
            ("reject if !file", Clients::EVERYONE, 1),
            ("reject if !{ src gw.region.example }", Clients::EVERYONE, 1),
            (
                "reject if !{ src,ipmask(24) 10.0.0.0 }",
                Clients::EVERYONE,
                1,
            ),
            // A line of the condition cannot be read.
            ("reject if !two", Clients::EVERYONE, 1),
            // A part of a network cannot be taken out of it.
            ("reject if ward\nreject if !lan", lan(), 1),
            // The rules below it cannot be carried without it, which is more than one line.
            ("accept if name\nreject if !ward", Clients::EVERYONE, 3),
            ("set-src hdr(x)\nreject if !lan", Clients::EVERYONE, 1),
        ];
        for (rules, expected, count) in cases {
            let rules = rules.replace('\n', "\ntcp-request connection ");
            let (clients, refused) = allowed(&format!("{LAN}tcp-request connection {rules}"));
            assert_eq!(clients, expected, "{rules}");
            assert_eq!(refused, count, "{rules}");
        }
    }
}
