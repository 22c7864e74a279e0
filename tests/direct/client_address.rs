//! The address of the client: PROXY headers from proxies and to targets, and the address that one gateway
//! carries to the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use wardgate_tests::stream::{Ending, accept, accept_now, connect, ending};
use wardgate_tests::tls::{TLS12, TLS13};
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, until};

use crate::pair::{A, B, Pair, Terminate, address, listen, local};

const MESSAGE: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\x1c\r";
const LINE: &[u8] = b"PROXY TCP4 10.1.2.3 10.1.2.4 4321 2575\r\n";
const CLIENT: &str = "10.1.2.3:4321";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Type and length of a TLV before its value.
const HEAD: usize = 3;

/// A PROXY header as a receiver reads it, written from the specification and not from the gateway's code.
#[derive(Debug)]
struct Received {
    command: u8,
    source: Option<SocketAddr>,
    tlvs: Vec<(u8, Vec<u8>)>,
}

impl Received {
    fn read(stream: &mut TcpStream) -> Self {
        let mut fixed = [0; 16];
        stream.read_exact(&mut fixed).expect("a header comes first");
        assert_eq!(&fixed[..12], SIGNATURE);
        let mut body = vec![0; usize::from(u16::from_be_bytes([fixed[14], fixed[15]]))];
        stream.read_exact(&mut body).expect("it comes whole");
        let (source, mut rest) = match fixed[13] {
            0 => (None, &body[..]),
            0x11 => {
                let ip: [u8; 4] = body[..4].try_into().expect("four bytes");
                let port = u16::from_be_bytes([body[8], body[9]]);
                (Some(SocketAddr::from((ip, port))), &body[12..])
            }
            other => panic!("family {other:#x}"),
        };
        let mut tlvs = Vec::new();
        while !rest.is_empty() {
            let size = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
            tlvs.push((rest[0], rest[HEAD..HEAD + size].to_vec()));
            rest = &rest[HEAD + size..];
        }
        Self {
            command: fixed[12],
            source,
            tlvs,
        }
    }

    fn tlv(&self, kind: u8) -> &[u8] {
        let found = self.tlvs.iter().find(|(own, _)| *own == kind);
        &found
            .unwrap_or_else(|| panic!("no TLV {kind:#x} in {self:?}"))
            .1
    }
}

fn reason(gateway: &Gateway, words: &str) {
    let has = |line: &wardgate_tests::Line| line.text("reason").contains(words);
    gateway.wait_for_connection_line(words, DEADLINE, has);
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes
        .windows(part.len())
        .any(|window| window == part.as_bytes())
}

/// client -> PROXY version 1 -> A -> carried -> B -> PROXY version 2 -> target; each gateway has another record
/// layer.
#[test]
fn the_address_that_a_listed_proxy_names_reaches_the_target_through_both_gateways() {
    let pair = Pair::each(
        "mllp",
        |site| {
            site.set("accept_proxy", r#"["127.0.0.1/32"]"#)
                .set("from", r#"["10.1.0.0/16"]"#)
                .set("carry_source", "true")
                .set(
                    "health",
                    "{ probe = \"tls\", interval = \"1s\", timeout = \"900ms\" }",
                )
        },
        |site| {
            site.set("carry_source", "true")
                .set("carried_from", r#"["10.0.0.0/8"]"#)
                .set("send_proxy", "\"v2\"")
                .set("record_layer", "\"rustls\"")
        },
    );
    let mut client = connect(pair.entry);
    // Byte by byte, and the stream in the same packet as the end of the header.
    let (last, first) = LINE.split_last().expect("it is not empty");
    for byte in first {
        client.write_all(&[*byte]).expect("it is connected");
    }
    let end = [&[*last], MESSAGE].concat();
    client.write_all(&end).expect("it is connected");
    let mut server = accept(&pair.exit);
    let header = Received::read(&mut server);
    assert_eq!(header.command, 0x21);
    assert_eq!(
        header.source.map(|ip| ip.to_string()).as_deref(),
        Some(CLIENT)
    );
    let mut received = vec![0; MESSAGE.len()];
    server.read_exact(&mut received).expect("it comes whole");
    assert_eq!(received, MESSAGE);
    let ssl = header.tlv(0x20);
    assert_eq!(ssl[..5], [7, 0, 0, 0, 0], "a verified certificate");
    for part in ["TLSv1.3", &format!("dns:{A}"), "TLS_AES_256_GCM_SHA384"] {
        assert!(contains(ssl, part), "{part} is missing in {ssl:?}");
    }
    drop((client, server));
    let [a, b] = [&pair.a, &pair.b].map(|gateway| {
        let is_it = |line: &wardgate_tests::Line| line.text("forwarded_for") == CLIENT;
        let line = gateway.wait_for_connection_line("with a client", DEADLINE, is_it);
        assert_eq!(line.text("client.address"), "127.0.0.1", "{line:?}");
        assert_eq!(line.number("undelivered_bytes"), 0, "{line:?}");
        line
    });
    assert_eq!(a.number("sealed_bytes"), MESSAGE.len() as u64);
    assert_eq!(b.number("opened_bytes"), MESSAGE.len() as u64);
    assert_eq!(header.tlv(5), b.text("tunnel").as_bytes());
    // The probes of A speak the same protocol, and are no failures at B.
    until("a probe", DEADLINE, || {
        (pair.a.metric("wardgate_health_probes_total") > 1.0).then_some(())
    });
    assert_eq!(pair.a.metric("wardgate_target_up"), 1.0);
    assert_eq!(pair.b.metric("wardgate_handshakes_refused_total"), 0.0);
    // An address that the proxy names and `from` does not contain.
    let mut other = connect(pair.entry);
    let line = b"PROXY TCP4 10.9.2.3 10.1.2.4 4321 2575\r\n";
    other.write_all(line).expect("it is connected");
    assert_eq!(ending(&mut other).1, Ending::Reset);
    reason(&pair.a, "in none of the networks of `from`");
    assert!(accept_now(&pair.exit).is_none());
}

#[test]
fn a_peer_may_carry_only_addresses_of_its_networks() {
    let pair = Pair::each(
        "mllp",
        |site| site.set("carry_source", "true"),
        |site| {
            site.set("carry_source", "true")
                .set("carried_from", r#"["10.30.0.0/16"]"#)
        },
    );
    let mut client = connect(pair.entry);
    client.write_all(MESSAGE).expect("it is connected");
    assert_eq!(ending(&mut client).1, Ending::Reset);
    reason(&pair.b, "in none of the networks of `carried_from`");
    assert!(accept_now(&pair.exit).is_none());
}

#[test]
fn carry_source_at_one_end_only_is_refused_with_the_remedy_at_both() {
    let carries = |site: Site| site.set("carry_source", "true");
    let plain = |site: Site| site;
    for (pair, at_b) in [
        (
            Pair::each("mllp", carries, plain),
            "the client carries the address of its client, and this route has no carry_source; write \
             carry_source = true at this route too",
        ),
        (
            Pair::each("mllp", plain, carries),
            "the client carries no address of its client, and this route has carry_source = true; write \
             carry_source = true at the client's route too",
        ),
    ] {
        let mut client = connect(pair.entry);
        client.write_all(MESSAGE).expect("it is connected");
        assert_eq!(ending(&mut client).1, Ending::Reset);
        reason(&pair.b, at_b);
        reason(&pair.a, "carry_source (ours is ");
        assert!(accept_now(&pair.exit).is_none());
    }
}

#[test]
fn a_foreign_peer_that_agrees_and_sends_no_address_is_refused() {
    let terminate = Terminate::with(|site| {
        site.set("carry_source", "true")
            .set("send_proxy", "\"v2\"")
            .route_timeout("handshake", "\"1s\"")
    });
    for version in [TLS13, TLS12] {
        let mut peer = terminate.peer_offering(version, b"wardgate-source/1");
        peer.handshake().expect("both ends are who they should be");
        peer.write_all(MESSAGE).expect("it is connected");
        reason(
            &terminate.gateway,
            "agreed to carry_source and sent no PROXY header",
        );
    }
    let mut silent = terminate.peer_offering(TLS13, b"wardgate-source/1");
    silent
        .handshake()
        .expect("both ends are who they should be");
    reason(&terminate.gateway, "handshake deadline passed");
    // A header in two records, the second with the first payload: nothing is forwarded before it is whole.
    let mut peer = terminate.peer_offering(TLS13, b"wardgate-source/1");
    peer.handshake().expect("both ends are who they should be");
    let header = [
        SIGNATURE,
        &[
            0x21, 0x11, 0, 12, 10, 1, 2, 3, 10, 1, 2, 4, 0x10, 0xe1, 0, 1,
        ],
    ];
    let header = header.concat();
    peer.write_all(&header[..20]).expect("it is connected");
    std::thread::sleep(Duration::from_millis(100));
    assert!(accept_now(&terminate.exit).is_none());
    let rest = [&header[20..], MESSAGE].concat();
    peer.write_all(&rest).expect("it is connected");
    let mut server = accept(&terminate.exit);
    let received = Received::read(&mut server);
    assert_eq!(
        received.source.map(|ip| ip.to_string()).as_deref(),
        Some(CLIENT)
    );
    let mut message = vec![0; MESSAGE.len()];
    server.read_exact(&mut message).expect("it comes whole");
    assert_eq!(message, MESSAGE);
}

/// One gateway: routes that take a header from another proxy, from this one, and from none.
#[test]
fn a_header_is_believed_only_where_it_is_required_and_only_from_a_listed_proxy() {
    let [of_another, of_this, of_none, both_ways] = [(); 4].map(|()| local());
    let exit = listen();
    let target = address(&exit);
    let gateway = Site::new(&Pki::new(), B)
        .passthrough(of_another, target)
        .set("accept_proxy", r#"["127.0.0.9/32", "10.0.0.0/8"]"#)
        .passthrough(of_this, target)
        .set("accept_proxy", r#"["127.0.0.1/32"]"#)
        .passthrough(of_none, target)
        .passthrough(both_ways, target)
        .set("accept_proxy", r#"["127.0.0.0/8"]"#)
        .set("send_proxy", "\"v2\"")
        .set(
            "health",
            "{ probe = \"connect\", interval = \"60s\", timeout = \"2s\" }",
        )
        .start();
    // The probe names no client.
    let mut probe = accept(&exit);
    let header = Received::read(&mut probe);
    assert_eq!((header.command, header.source), (0x20, None));
    drop(probe);
    let send = |entry: SocketAddr, bytes: &[u8]| {
        let mut client = connect(entry);
        let _ = client.write_all(bytes);
        client
    };
    let stream = [LINE, b"stream"].concat();
    // Not a listed proxy: whatever it sends. The reset may come before the connect has returned.
    match TcpStream::connect(of_another) {
        Ok(client) => {
            let mut client = wardgate_tests::stream::bounded(client);
            // The error of a reset is reported once, by the write or by the read.
            if client.write_all(&stream).is_ok() {
                assert_eq!(ending(&mut client).1, Ending::Reset);
            }
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    reason(&gateway, "in none of the networks of `accept_proxy`");
    // A listed proxy that sends none, and one that sends a broken one.
    for (bytes, words) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            "sent HTTP, not a PROXY header",
        ),
        (
            b"PROXY TCP4 10.1.2.3 x 1 1\r\n",
            "a line that is not of version 1",
        ),
        (b"PROXY TCP4 10.1.2.3", "ended within its PROXY header"),
    ] {
        let mut client = send(of_this, bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        assert_eq!(ending(&mut client).1, Ending::Reset, "{words}");
        reason(&gateway, words);
    }
    assert!(accept_now(&exit).is_none(), "nothing reached the target");
    // A second header is a part of the stream.
    let twice = [LINE, &stream].concat();
    let _client = send(of_this, &twice);
    let mut server = accept(&exit);
    let mut received = vec![0; stream.len()];
    server.read_exact(&mut received).expect("it comes whole");
    assert_eq!(received, stream);
    // A route without the key reads no header, and believes none.
    let client = send(of_none, &stream);
    let mut server = accept(&exit);
    let mut received = vec![0; stream.len()];
    server.read_exact(&mut received).expect("it comes whole");
    assert_eq!(received, stream);
    drop((client, server));
    let is_it = |line: &wardgate_tests::Line| line.text("route") == "passthrough-3";
    let line = gateway.wait_for_connection_line("route 3", DEADLINE, is_it);
    assert_eq!(line.text("forwarded_for"), "-");
    // The header is written anew, and the health check of the proxy names its own address.
    let _client = send(both_ways, &stream);
    let mut server = accept(&exit);
    let header = Received::read(&mut server);
    assert_eq!(
        header.source.map(|ip| ip.to_string()).as_deref(),
        Some(CLIENT)
    );
    let mut received = [0; 6];
    server.read_exact(&mut received).expect("it comes whole");
    assert_eq!(&received, b"stream");
    let local = [SIGNATURE, &[0x20, 0, 0, 0], b"check!"].concat();
    let client = send(both_ways, &local);
    let own = client.local_addr().expect("it is connected");
    let mut server = accept(&exit);
    let header = Received::read(&mut server);
    assert_eq!((header.command, header.source), (0x21, Some(own)));
    // A proxy that sends nothing is ended.
    let silent = std::time::Instant::now();
    assert_eq!(ending(&mut send(of_this, b"PROXY ")).1, Ending::Reset);
    assert!(silent.elapsed() > Duration::from_secs(4), "{silent:?}");
    reason(&gateway, "no whole PROXY header within 5 s");
}
