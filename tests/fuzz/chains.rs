//! Invalid certificate chains: the certificates that are cut from them, and how their names are read.
//!
//! `chain_filter` compares the cut with webpki itself, with a fast algorithm in place of signatures: a
//! signature is the key that made it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use gateway::config::limits::KEY_RECORDS_MAX;
use gateway::config::{
    IdentityFiles, KeyExchange, Located, Peer, PeerName, Policy, RecordLayer, RouteTls, TrustFiles,
};
use gateway::pki::{Identity, Trust};
use gateway::tls::chain::{Anchor, Checks, cut};
use gateway::tls::limits::{
    FAILED_CHECKS_MAX, FORGED_AT_FIRST_MAX, FORGED_CERTIFICATES_MAX, PATH_STEPS_MAX,
    SENTENCE_CHARS_MAX, SHOWN_NAME_CHARS_MAX, SHOWN_NAMES_MAX,
};
use gateway::tls::{Acceptor, CertificateDescription};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, PrivatePkcs8KeyDer,
    SignatureVerificationAlgorithm, TrustAnchor, UnixTime, alg_id,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};
use test_peers::der::{self, Parts, element};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::choices::Choices;
use crate::odd_certificates::{MESSAGE_MAX, odd_certificate};

/// The existing names and keys. Few, so that they meet.
const NAMES: [&str; 6] = [
    "A",
    "B",
    "C",
    "D",
    "Root",
    "Another Root with a longer name",
];
const KEYS: u8 = 8;
const INTERMEDIATES_MAX: usize = 7;

/// Some moment in 2026, between the years in which a certificate may end.
const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_780_000_000));
const ENDS: [u16; 4] = [2049, 2049, 2049, 2021];

/// The subject at one position of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    subject: usize,
    key: u8,
    issuer: usize,
    issuer_key: u8,
}

pub(crate) fn filter(input: &[u8]) -> String {
    let mut choices = Choices::new(input);
    let anchors: Vec<_> = (0..=choices.below(4))
        .map(|_| End::choose(&mut choices))
        .collect();
    let (leaf, leaf_der) = certificate(&mut choices, 0, false);
    let count = choices.below(INTERMEDIATES_MAX + 1);
    let mut presented = Vec::new();
    for serial in 0..count {
        if choices.chance(10)
            && let Some(again) = presented.last().cloned()
        {
            presented.push(again);
            continue;
        }
        presented.push(certificate(&mut choices, serial as u8 + 1, true));
    }
    let intermediates: Vec<_> = presented.iter().map(|(_, der)| der.clone()).collect();
    let in_force = anchors.iter().map(|end| Anchor {
        anchor: &end.anchor,
        in_force: end.in_force,
    });
    let kept = cut(&leaf_der, &intermediates, in_force);
    let nodes = kept_nodes(&kept, &presented);

    let steps_before = steps(
        leaf.issuer,
        &presented.iter().map(|(node, _)| *node).collect::<Vec<_>>(),
    );
    let steps_after = steps(leaf.issuer, &nodes);
    assert!(steps_after <= PATH_STEPS_MAX, "{steps_after} steps");

    let whole = verify(&leaf_der, &intermediates, &anchors, &[&BY_KEY]);
    let (all, _) = whole;
    let (bare, checked) = verify(&leaf_der, &kept, &anchors, &[&BY_KEY]);
    match &all {
        Ok(()) if steps_before <= PATH_STEPS_MAX => {
            assert_eq!(bare, Ok(()), "what was needed is gone");
        }
        Err(Error::MaximumSignatureChecksExceeded) | Ok(()) => {}
        Err(error) => assert!(bare.is_err(), "{error:?} before, and good after the cut"),
    }
    let is_within_bounds = are_within_bounds(&checked);

    let checks = Checks::default();
    let counted = checks.counted(&[&BY_KEY]);
    let counted: Vec<_> = counted.iter().map(|algorithm| algorithm as _).collect();
    let (outcome, checked) = verify(&leaf_der, &kept, &anchors, &counted);
    let forged: BTreeSet<_> = failed(&checked).collect();
    assert!(
        forged.len() <= FORGED_CERTIFICATES_MAX,
        "{} forged",
        forged.len()
    );
    let different: BTreeSet<_> = checked.iter().collect();
    assert_eq!(different.len(), checked.len(), "a check was computed twice");
    if is_within_bounds {
        assert_eq!(
            outcome.is_ok(),
            bare.is_ok(),
            "{outcome:?} with counted checks"
        );
    }
    assert!(
        outcome.is_err() || bare.is_ok(),
        "good with counted checks alone"
    );
    format!(
        "{} {} {} {} {} {}",
        word(&all),
        word(&outcome),
        kept.len(),
        steps_before.min(PATH_STEPS_MAX + 1) / 4,
        checked.len().min(5),
        forged.len(),
    )
}

fn word(outcome: &Result<(), Error>) -> String {
    let whole = format!("{outcome:?}");
    whole
        .split([' ', '{'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A trust anchor, and whether it is used.
struct End {
    anchor: TrustAnchor<'static>,
    in_force: bool,
}

impl End {
    fn choose(choices: &mut Choices<'_>) -> Self {
        // Roots more often than others.
        let name = choices.pick(&[4, 4, 5, 5, 4, 0, 1]);
        let key = choices.below(KEYS.into()) as u8;
        // "Permitted: this directory name", by which webpki refuses every name.
        let constraints = [0xa0, 4, 0x30, 2, 0xa4, 0];
        Self {
            anchor: TrustAnchor {
                subject: inside(&der::name(NAMES[name])).into(),
                subject_public_key_info: inside(&key_info(key)).into(),
                name_constraints: choices.chance(20).then(|| constraints.to_vec().into()),
            },
            in_force: !choices.chance(20),
        }
    }
}

fn certificate(
    choices: &mut Choices<'_>,
    serial: u8,
    is_ca: bool,
) -> (Node, CertificateDer<'static>) {
    let node = Node {
        subject: choices.below(NAMES.len()),
        key: choices.below(KEYS.into()) as u8,
        issuer: choices.below(NAMES.len()),
        issuer_key: choices.below(KEYS.into()) as u8,
    };
    let parts = Parts {
        serial,
        algorithm: element(0x30, &[der::ED25519]),
        until: choices.pick(&ENDS),
        ..Parts::new(NAMES[node.subject], NAMES[node.issuer])
    };
    let mut parts = parts.with_key(key_info(node.key));
    // Key identifiers are hints: they may be there, right or wrong.
    if choices.chance(100) {
        let key = element(4, &[&[node.key]]);
        parts = parts.with(&der::extension(&[0x55, 0x1d, 0x0e], &key));
    }
    if choices.chance(100) {
        let hint = if choices.chance(20) {
            node.key
        } else {
            node.issuer_key
        };
        let issuer_key = element(0x30, &[&element(0x80, &[&[hint]])]);
        parts = parts.with(&der::extension(&[0x55, 0x1d, 0x23], &issuer_key));
    }
    let parts = if is_ca { parts.of_ca() } else { parts };
    (node, parts.signed(&[node.issuer_key; 32]).into())
}

fn key_info(key: u8) -> Vec<u8> {
    der::ed25519(&[key; 32])
}

/// The contents of an element of less than 128 bytes.
fn inside(element: &[u8]) -> Vec<u8> {
    element[2..].to_vec()
}

/// The stand-in for the kept certificates, which must have been presented, each once.
fn kept_nodes(
    kept: &[CertificateDer<'_>],
    presented: &[(Node, CertificateDer<'static>)],
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (index, der) in kept.iter().enumerate() {
        assert!(!kept[..index].contains(der), "twice the same");
        let found = presented.iter().find(|(_, presented)| presented == der);
        nodes.push(found.expect("it was presented").0);
    }
    nodes
}

/// The steps of webpki's search if no signature and no date stops it. Counts up to some thousands.
fn steps(issuer: usize, nodes: &[Node]) -> usize {
    fn walk(issuer: usize, nodes: &[Node], path: &mut Vec<Node>, taken: &mut usize) {
        for node in nodes.iter().filter(|node| node.subject == issuer) {
            let is_loop = path
                .iter()
                .any(|earlier| (earlier.subject, earlier.key) == (node.subject, node.key));
            if !is_loop && path.len() < 7 && *taken < 10_000 {
                *taken += 1;
                path.push(*node);
                walk(node.issuer, nodes, path, taken);
                path.pop();
            }
        }
    }
    let mut taken = 0;
    walk(issuer, nodes, &mut Vec::new(), &mut taken);
    taken
}

/// A stand-in for a signature algorithm: a signature is the key that made it.
#[derive(Debug)]
struct ByKey;

static BY_KEY: ByKey = ByKey;

/// Key, message, and whether the signature was good.
type Checked = (Vec<u8>, Vec<u8>, bool);

thread_local! {
    static CHECKED: RefCell<Vec<Checked>> = const { RefCell::new(Vec::new()) };
}

impl SignatureVerificationAlgorithm for ByKey {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let is_good = key == signature;
        CHECKED.with_borrow_mut(|checked| checked.push((key.to_vec(), message.to_vec(), is_good)));
        is_good.then_some(()).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }
}

/// Whether the limits of `Checks` drop none of these.
fn are_within_bounds(checked: &[Checked]) -> bool {
    checked.iter().enumerate().all(|(index, check)| {
        let (_, message, _) = check;
        let before = &checked[..index];
        let known: BTreeSet<_> = before.iter().collect();
        let failed_checks = known.iter().filter(|(_, _, is_good)| !is_good).count();
        if failed_checks >= FAILED_CHECKS_MAX && !known.contains(check) {
            return false;
        }
        let forged: BTreeSet<_> = failed(before).collect();
        let has_passed = before.iter().any(|(_, _, is_good)| *is_good);
        let most = if has_passed {
            FORGED_CERTIFICATES_MAX
        } else {
            FORGED_AT_FIRST_MAX
        };
        forged.contains(message) || forged.len() < most
    })
}

fn failed(checked: &[Checked]) -> impl Iterator<Item = &Vec<u8>> {
    checked
        .iter()
        .filter(|(_, _, is_good)| !is_good)
        .map(|(_, message, _)| message)
}

/// The result of webpki, called as the gateway does, and the number of computed checks.
fn verify(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[End],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> (Result<(), Error>, Vec<Checked>) {
    CHECKED.with_borrow_mut(Vec::clear);
    let leaf = EndEntityCert::try_from(leaf).expect("it is a certificate");
    let all: Vec<_> = anchors.iter().map(|end| end.anchor.clone()).collect();
    let in_force = |path: &webpki::VerifiedPath<'_>| {
        let place = all
            .iter()
            .position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let is_good = place.is_some_and(|place| anchors[place].in_force);
        is_good.then_some(()).ok_or(Error::UnknownIssuer)
    };
    let outcome = leaf.verify_for_usage(
        algorithms,
        &all,
        intermediates,
        NOW,
        KeyUsage::client_auth(),
        None,
        Some(&in_force),
    );
    (outcome.map(|_| ()), CHECKED.take())
}

/// The maximum memory and CPU time for the check of a chain.
const JUDGING_BYTES_MAX: usize = 1 << 20;
const JUDGING_TIME_MAX: std::time::Duration = std::time::Duration::from_millis(20);
/// The number of repeated measurements if a time is above the maximum.
const JUDGING_REPEATS: usize = 5;

/// Characters of one name: what `printable` shows, its last escape and its dots.
const NAME_MAX: usize = SHOWN_NAME_CHARS_MAX + 16;

/// A route that lists one name of each kind, and the key of its trusted CA.
struct Route {
    acceptor: Acceptor,
    ca: KeyPair,
}

pub(crate) fn names(input: &[u8]) -> String {
    let route = route();
    let mut choices = Choices::new(input);
    let chain: Vec<CertificateDer<'static>> = match choices.below(4) {
        // Nothing is certain, not even the outer structure.
        0 => vec![input.to_vec().into()],
        more => (0..more)
            .map(|_| odd_certificate(&mut choices, &route.ca))
            .collect(),
    };
    if chain.iter().map(|der| der.len() + 5).sum::<usize>() > MESSAGE_MAX {
        return "longer than a handshake message".to_owned();
    }
    for der in &chain {
        assert_bounded(&CertificateDescription::new(der));
    }
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let judge = || {
        let judged = route.acceptor.judge(&chain[0], &chain[1..], NOW);
        let sentence = judged.as_ref().err().map(ToString::to_string);
        (judged, sentence)
    };
    let ((judged, sentence), mut took) = timed(judge);
    let allocated = region.change().bytes_allocated;
    // On a virtual machine, time that the host took away counts as CPU time, so a single measurement can be
    // far too long. The cost is the minimum of several.
    // too long. The least of several is the cost.
    for _ in 0..JUDGING_REPEATS {
        if took > JUDGING_TIME_MAX {
            took = took.min(timed(judge).1);
        }
    }
    assert!(took <= JUDGING_TIME_MAX, "{took:?}: {sentence:?}");
    assert!(allocated <= JUDGING_BYTES_MAX, "{allocated} bytes");
    match (judged, sentence) {
        (Ok(peer), _) => {
            assert!(["dns:peer.example", "uri:urn:peer"].contains(&peer.identity.as_str()));
            format!("good {}", peer.identity)
        }
        (Err(refusal), Some(sentence)) => {
            assert!(sentence.len() <= SENTENCE_CHARS_MAX, "{}", sentence.len());
            assert!(
                sentence.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{sentence}"
            );
            let rule = format!("{:?}", refusal.rule);
            let letters = |letter: &char| letter.is_ascii_alphabetic() || *letter == ' ';
            let rule: String = rule
                .chars()
                .take_while(|c| *c != '.')
                .filter(letters)
                .take(40)
                .collect();
            let Some(described) = &refusal.certificate else {
                unreachable!("a chain was judged")
            };
            let subject = described.subject.len() * 4 / NAME_MAX;
            format!(
                "{rule} {} {subject} {}",
                described.names.len(),
                described.names_hidden.min(2)
            )
        }
        (Err(_), None) => unreachable!("a refusal has its sentence"),
    }
}

fn assert_bounded(description: &CertificateDescription) {
    assert!(description.names.len() <= SHOWN_NAMES_MAX);
    let names = description.names.iter();
    let texts = names.chain([
        &description.subject,
        &description.issuer,
        &description.serial,
    ]);
    for text in texts {
        assert!(text.len() <= NAME_MAX, "{} bytes", text.len());
        assert!(
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{text}"
        );
    }
}

/// The CPU time that `work` takes on this thread.
fn timed<T>(work: impl FnOnce() -> T) -> (T, std::time::Duration) {
    let start = cpu_time();
    let done = work();
    (done, cpu_time() - start)
}

fn cpu_time() -> std::time::Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = std::time::Duration::from_secs(time.tv_sec.try_into().expect("it is not negative"));
    whole + std::time::Duration::from_nanos(time.tv_nsec.try_into().expect("nor is this"))
}

fn route() -> &'static Route {
    static ROUTE: OnceLock<Route> = OnceLock::new();
    ROUTE.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Fuzz CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = KeyPair::generate().expect("ring makes keys");
        let certificate = params.self_signed(&ca).expect("a root");
        let key = PrivatePkcs8KeyDer::from(ca.serialize_der());
        let identity = Identity {
            chain: vec![certificate.der().clone()],
            key: key.into(),
        };
        let trust = Arc::new(Trust {
            anchors: vec![certificate.der().clone()],
            crls: Vec::new(),
        });
        let acceptor = Acceptor::new(&Arc::new(identity), &rules(), &[trust]);
        let acceptor = acceptor.expect("a good acceptor");
        Route { acceptor, ca }
    })
}

fn rules() -> RouteTls {
    let file = |name: &str| Located {
        value: name.into(),
        line: 1,
    };
    RouteTls {
        identity: Arc::new(IdentityFiles {
            certificate: file("site.pem"),
            key: file("site.key"),
            trust: None,
        }),
        peers: vec![Arc::new(Peer {
            name: None,
            identities: vec![
                PeerName::Dns("peer.example".into()),
                PeerName::Uri("urn:peer".into()),
            ],
            trust: Arc::new(TrustFiles {
                trust: file("trust.pem"),
                crl: Vec::new(),
            }),
        })],
        service: None,
        carries_source: false,
        policy: Policy::Hscn,
        key_exchange: KeyExchange::default(),
        record_layer: RecordLayer::default(),
        key_records: KEY_RECORDS_MAX,
    }
}
