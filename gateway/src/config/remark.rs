//! Warnings about a valid configuration.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use super::address::reaches;
use super::{
    Config, Dicom, IpNetwork, Mode, Peer, Probe, Protocol, RouteConfig, RouteTls, ServiceLabel,
    Target,
};
use crate::dicom::{AeTitle, DimseCommand};

impl Config {
    /// Full sentences about the peers and about routes together: `peer "region": ...`.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let unused = self.peers.iter().filter_map(|peer| self.unused(peer));
        let mut remarks: Vec<_> = unused.collect();
        remarks.extend(self.listed_beside_a_table());
        remarks.extend(self.indistinguishable());
        remarks
    }

    /// Sentences about C-ECHO probes that a rule in this file will reject: the list of called titles of the
    /// route itself, or the rules of another route that the probe arrives at.
    #[must_use]
    pub fn refused_probes(&self) -> Vec<String> {
        let routes = self.routes.iter();
        routes
            .flat_map(|route| self.refused_probes_of(route))
            .collect()
    }

    fn refused_probes_of(&self, route: &RouteConfig) -> Vec<String> {
        let (Some(health), Some(dicom)) = (&route.health, &route.dicom) else {
            return Vec::new();
        };
        if health.probe != Probe::CEcho {
            return Vec::new();
        }
        let may_be_called = |title: &AeTitle| dicom.called.iter().all(|list| list.contains(title));
        let titles = route.targets.iter().map(|target| route.echo_title(target));
        let own = titles.into_iter().find(|title| !may_be_called(title)).map(|title| {
            format!(
                "route \"{}\": its probe calls \"{title}\", which is not in called_ae, so the target probably \
                 rejects it too; set `called` in [route.health] to a title of the archive",
                route.name
            )
        });
        let by_title = dicom.by_title.iter().flat_map(|table| &table.targets);
        let probed = route.targets.iter().chain(by_title);
        let by_others = probed.map(|target| (target, route.echo_title(target))).find_map(|(target, title)| {
            let mut others = self.routes.iter();
            let other = others.find(|other| {
                other.mode == Mode::Terminate && reaches(target, other.listen)
            })?;
            let (what, key) = other.dicom.as_ref()?.refuses(other, title, health.calling)?;
            Some(format!(
                "route \"{}\": its probe will be rejected by route \"{}\": {what}; allow it there, or set `{key}` in \
                 [route.health]",
                route.name, other.name
            ))
        });
        own.into_iter().chain(by_others).collect()
    }

    /// Identities that a route lists itself although a table has them: the CA that may then issue certificates for them may
    /// not be the one that the operator expects.
    fn listed_beside_a_table(&self) -> Vec<String> {
        let named = self.peers.iter().flat_map(|peer| {
            let name = peer.name.as_deref().unwrap_or_default();
            peer.identities.iter().map(move |identity| (identity, name))
        });
        let named: HashMap<_, _> = named.collect();
        let mut remarks = Vec::new();
        for route in &self.routes {
            let peers = route.tls.iter().flat_map(|tls| &tls.peers);
            let own = peers.filter(|peer| peer.name.is_none());
            for identity in own.flat_map(|peer| &peer.identities) {
                if let Some(name) = named.get(identity) {
                    remarks.push(format!(
                        "route \"{}\": peers lists \"{identity}\" itself, so the trust of its identity \
                         counts for it, and not that of peer \"{name}\"; list \"{name}\" instead",
                        route.name
                    ));
                }
            }
        }
        remarks
    }

    fn unused(&self, peer: &Arc<Peer>) -> Option<String> {
        let mut listed = self.routes.iter().flat_map(|route| &route.tls);
        let is_listed = |tls: &RouteTls| tls.peers.iter().any(|listed| Arc::ptr_eq(listed, peer));
        let name = peer.name.as_deref().unwrap_or_default();
        (!listed.any(is_listed)).then(|| {
            format!("peer \"{name}\": no route lists it; write its name in peers of a route, or remove it")
        })
    }

    /// Routes that a peer cannot distinguish from an earlier route: a connection of one of them that is
    /// redirected on the network path would be served by the other.
    fn indistinguishable(&self) -> Vec<String> {
        type RouteIdentity<'a> = (&'a Path, Mode, Protocol, Option<&'a ServiceLabel>);
        let mut seen = HashMap::<_, &str>::new();
        let mut remarks = Vec::new();
        for route in &self.routes {
            let Some(tls) = &route.tls else {
                continue;
            };
            let certificate = tls.identity.certificate.value.as_path();
            let kind: RouteIdentity<'_> = (
                certificate,
                route.mode,
                route.protocol,
                tls.service.as_ref(),
            );
            let mut other = None;
            for identity in tls.peers.iter().flat_map(|peer| &peer.identities) {
                match seen.entry((kind, identity)) {
                    Entry::Occupied(earlier) => other = other.or(Some(*earlier.get())),
                    Entry::Vacant(free) => {
                        free.insert(&route.name);
                    }
                }
            }
            remarks.extend(other.map(|other| indistinguishable(route, tls, other)));
        }
        remarks
    }
}

fn indistinguishable(route: &RouteConfig, tls: &RouteTls, other: &str) -> String {
    let same = match &tls.service {
        Some(_) => "write another service in one of them",
        None => "write service = \"NAME\" in each of them",
    };
    format!(
        "route \"{}\": a connection that is redirected on the network path could reach route \
         \"{other}\" instead, or the other way round: both have the same certificate, mode, protocol \
         and peer; {same}, and the same at the other end",
        route.name
    )
}

/// Targets at which any listed identity may answer.
fn any_peer(route: &RouteConfig) -> Option<String> {
    route
        .tls
        .as_ref()
        .filter(|_| route.mode == Mode::Originate)?;
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let mut targets = route
        .targets
        .iter()
        .chain(by_title.flat_map(|table| &table.targets));
    let target = targets.find(|target: &&Target| target.expected.is_none())?;
    Some(format!(
        "a connection to target \"{target}\" that is redirected on the network path could reach any identity \
         in peers; if they are not one peer, write {{ address = \"{target}\", peer = \"dns:...\" }}"
    ))
}

/// Networks whose clients can never reach the listener, because they use the other version of IP.
fn unreachable_networks(route: &RouteConfig) -> Option<String> {
    let from = route.from.as_ref()?;
    let is_useless = |network: &&IpNetwork| !network.reaches(route.listen);
    let useless = from.iter().find(is_useless)?;
    let effect = match from.iter().all(|network| is_useless(&network)) {
        true => "so every connection is reset",
        false => "so this network has no effect",
    };
    let (version, example) = match route.listen.is_ipv4() {
        true => ("IPv4", "[::]"),
        false => ("IPv6", "0.0.0.0"),
    };
    Some(format!(
        "from lists \"{useless}\", but clients of \"{}\" connect by {version}, {effect}; list the networks of \
         the clients as the gateway sees them, or listen on an address such as \"{example}:{}\"",
        route.listen,
        route.listen.port()
    ))
}

impl RouteConfig {
    /// Full sentences about missing or ineffective rules of this route: `route "ct": ...`.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let of_dicom = self.dicom.iter().flat_map(|dicom| {
            [
                missing_return_route(dicom),
                c_get_without_c_store(dicom),
                reporting_only(dicom),
            ]
        });
        let of_route = [
            any_peer(self),
            unreachable_networks(self),
            any_carried_address(self),
        ];
        let remarks = of_route.into_iter().chain(of_dicom);
        remarks
            .flatten()
            .map(|remark| format!("route \"{}\": {remark}", self.name))
            .collect()
    }
}

fn any_carried_address(route: &RouteConfig) -> Option<String> {
    let takes = route.mode == Mode::Terminate && route.carries_source();
    (takes && route.source.carried_from.is_none()).then(|| {
        "the peers may carry any address (carry_source), also one of this site; write carried_from with the \
         networks of their clients"
            .to_owned()
    })
}

impl Dicom {
    /// Whether the route has rules that `rules` applies to.
    #[must_use]
    fn has_rules(&self) -> bool {
        self.called.is_some()
            || self.calling.is_some()
            || self.commands.is_some()
            || self.associations_max.is_some()
            || self.associations_per_peer.is_some()
            || !self.bound.is_empty()
    }

    /// Why `route` refuses an association with these titles, and the key of a probe that sets the title.
    /// `None` if the route accepts it, as far as this is known without the peer.
    fn refuses(
        &self,
        route: &RouteConfig,
        called: AeTitle,
        calling: AeTitle,
    ) -> Option<(String, &'static str)> {
        let lacks = |list: &Option<Vec<AeTitle>>, title| {
            list.as_ref().is_some_and(|list| !list.contains(&title)) && self.enforce
        };
        let has_targets = !route.targets.is_empty()
            || self
                .by_title
                .iter()
                .any(|table| table.called.contains(&called));
        if lacks(&self.called, called) || !has_targets {
            return Some((
                format!("called title \"{called}\" is not known there"),
                "called",
            ));
        }
        let is_refused = lacks(&self.calling, calling);
        is_refused.then(|| {
            (
                format!("calling title \"{calling}\" is not allowed there"),
                "calling",
            )
        })
    }

    fn names(&self, command: DimseCommand) -> bool {
        let commands = self.commands.as_ref();
        commands.is_some_and(|commands| commands.contains(&command))
    }
}

/// An operator who lists a command with answers in separate associations intends its use.
fn missing_return_route(dicom: &Dicom) -> Option<String> {
    let named = [
        (DimseCommand::CMove, "the images of a C-MOVE come"),
        (
            DimseCommand::NAction,
            "the answer of storage commitment (N-ACTION) comes",
        ),
    ];
    let mut named = named.iter().filter(|(command, _)| dicom.names(*command));
    let (_, what) = named.next().filter(|_| dicom.returns.is_none())?;
    Some(format!(
        "{what} in an association that the other side opens, but this route names no route for it; if it is to \
            come through this gateway, write return = \"NAME\""
    ))
}

fn c_get_without_c_store(dicom: &Dicom) -> Option<String> {
    let is_alone = dicom.names(DimseCommand::CGet) && !dicom.names(DimseCommand::CStore);
    is_alone.then(|| {
        "commands lists C-GET but not C-STORE, which carries everything that a C-GET retrieves; list both"
            .to_owned()
    })
}

fn reporting_only(dicom: &Dicom) -> Option<String> {
    (!dicom.enforce && dicom.has_rules()).then(|| {
        "rules = \"report\": what the rules forbid passes, is logged (\"would refuse\") and counted in \
            wardgate_would_refuse_total; remove the line to refuse it"
            .to_owned()
    })
}
