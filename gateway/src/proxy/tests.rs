//! Headers as other programs write them, broken ones, and random ones.

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn ends(source: &str, destination: &str) -> Ends {
    Ends::new(address(source), address(destination))
}

// Feeds a reader as a socket does: it receives only what it asked for.
fn read(stream: &[u8]) -> Result<(Header, usize), HeaderError> {
    let mut taken = 0;
    loop {
        match parse(&stream[..taken])? {
            ParsedHeader::Header(header, length) => {
                assert_eq!(length, taken, "no byte behind the header is taken");
                return Ok((header, length));
            }
            ParsedHeader::More(0) => panic!("a reader that asks for nothing never ends"),
            ParsedHeader::More(count) if taken + count <= stream.len() => taken += count,
            ParsedHeader::More(_) => return Err(HeaderError::Wrong("an end within it")),
        }
    }
}

/// The line, and the client's address in it.
const LINES: [(&str, Option<&str>); 7] = [
    (
        "PROXY TCP4 10.20.0.5 10.20.0.9 49152 104\r\n",
        Some("10.20.0.5:49152"),
    ),
    (
        "PROXY TCP4 255.255.255.254 10.20.0.9 65535 65535\r\n",
        Some("255.255.255.254:65535"),
    ),
    (
        "PROXY TCP6 2001:db8::5 fd00::9 1 104\r\n",
        Some("[2001:db8::5]:1"),
    ),
    (
        "PROXY TCP6 ::ffff:10.20.0.5 ::ffff:10.20.0.9 1 104\r\n",
        Some("10.20.0.5:1"),
    ),
    (
        "PROXY TCP4 10.20.0.5 10.20.0.9 0 104\r\n",
        Some("10.20.0.5:0"),
    ),
    ("PROXY UNKNOWN\r\n", None),
    ("PROXY UNKNOWN anything at all\r\n", None),
];

#[test]
fn version_1_is_read_and_the_bytes_behind_it_stay() {
    for (line, source) in LINES {
        let stream = [line.as_bytes(), b"\r\nPROXY TCP4 1.2.3.4 1.2.3.4 5 6\r\n"].concat();
        let (header, length) = read(&stream).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert_eq!(length, line.len());
        let named = match header {
            Header::Named(ends) => Some(ends.source.to_string()),
            Header::Unnamed => None,
            Header::Local => panic!("{line:?}"),
        };
        assert_eq!(named.as_deref(), source, "{line:?}");
    }
}

#[test]
fn version_1_in_another_form_is_refused() {
    for line in [
        "PROXY TCP4 10.20.0.5 10.20.0.9 49152\r\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 49152 104 1\r\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 49152 104 \r\n",
        "PROXY TCP4  10.20.0.5 10.20.0.9 49152 104\r\n",
        "PROXY TCP4\t10.20.0.5 10.20.0.9 49152 104\r\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 49152 104\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 65536 104\r\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 +1 104\r\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 -1 104\r\n",
        "PROXY TCP4 10.20.0.5 10.20.0.9 01 104\r\n",
        "PROXY TCP4 010.20.0.5 10.20.0.9 1 104\r\n",
        "PROXY TCP4 10.20.5 10.20.0.9 1 104\r\n",
        "PROXY TCP4 ::1 ::1 1 104\r\n",
        "PROXY TCP6 10.20.0.5 10.20.0.9 1 104\r\n",
        "PROXY TCP5 10.20.0.5 10.20.0.9 1 104\r\n",
        "PROXY TCP4 0.0.0.0 10.20.0.9 1 104\r\n",
        "PROXY TCP4 224.0.0.1 10.20.0.9 1 104\r\n",
        "PROXY TCP4 255.255.255.255 10.20.0.9 1 104\r\n",
        "PROXY TCP6 :: fd00::9 1 104\r\n",
        "PROXY TCP6 ff02::1 fd00::9 1 104\r\n",
        "PROXY UDP4 10.20.0.5 10.20.0.9 1 104\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n            ",
        "PROXY TCP4 \u{660}.0.0.1 10.20.0.9 1 104\r\n",
        "proxy TCP4 10.20.0.5 10.20.0.9 1 104\r\n",
        "GET / HTTP/1.1\r\n",
        "PROXZ",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(long.len(), 107);
    assert!(read(long.as_bytes()).is_ok());
    let longer = long.replace('x', "xx");
    assert!(read(longer.as_bytes()).is_err());
}

#[test]
fn version_2_is_read_as_it_is_written_and_the_bytes_behind_it_stay() {
    let tls = TlsFacts {
        version: "TLSv1.3",
        identity: "dns:gw.region.example",
        suite: "TLS_AES_256_GCM_SHA384",
    };
    for ends in [
        ends("10.20.0.5:49152", "10.20.0.9:104"),
        ends("[2001:db8::5]:1", "[fd00::9]:104"),
    ] {
        for bytes in [
            between(ends),
            described(ends, "5f0c9a3d41e87b26", Some(&tls)),
            described(ends, "", None),
        ] {
            let stream = [&bytes[..], b"\x01\x00 the stream"].concat();
            assert_eq!(read(&stream), Ok((Header::Named(ends), bytes.len())));
        }
    }
    assert_eq!(read(&local()), Ok((Header::Local, 16)));
}

/// Bytes of HAProxy 2.6 (`send-proxy-v2`), and of the specification's example structures.
#[test]
fn version_2_has_the_bytes_of_the_specification() {
    let ends = ends("10.20.0.5:49152", "10.20.0.9:104");
    let expected = [
        b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
        &[0x21, 0x11, 0, 12],
        &[10, 20, 0, 5, 10, 20, 0, 9, 0xc0, 0, 0, 104],
    ];
    assert_eq!(between(ends), expected.concat());
    let described = described(
        ends,
        "ab",
        Some(&TlsFacts {
            version: "v",
            identity: "i",
            suite: "s",
        }),
    );
    let tlvs = [
        &[5, 0, 2, b'a', b'b'][..],
        &[0x20, 0, 17, 7, 0, 0, 0, 0],
        &[0x21, 0, 1, b'v', 0x22, 0, 1, b'i', 0x23, 0, 1, b's'],
        &[3, 0, 4],
    ];
    let (tlvs, start) = (tlvs.concat(), 28);
    assert_eq!(described[start..described.len() - 4], tlvs);
}

#[test]
fn ends_of_two_families_are_written_as_ipv6() {
    let ends = ends("10.20.0.5:49152", "[fd00::9]:104");
    assert_eq!(ends.source, address("[::ffff:10.20.0.5]:49152"));
    let Ok((Header::Named(read), _)) = read(&between(ends)) else {
        panic!("it is a header");
    };
    assert_eq!(read.source, address("10.20.0.5:49152"));
}

#[test]
fn the_addresses_of_local_and_of_other_families_are_skipped() {
    let with = |command: u8, family: u8, body: &[u8]| {
        let mut bytes = between(ends("10.20.0.5:1", "10.20.0.9:104"));
        bytes.truncate(12);
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
        bytes.extend(body);
        read(&bytes)
    };
    assert_eq!(with(0x20, 0, &[1, 2, 3]), Ok((Header::Local, 19)));
    assert_eq!(with(0x20, 0x11, &[0; 12]), Ok((Header::Local, 28)));
    assert_eq!(with(0x20, 0xff, &[]), Ok((Header::Local, 16)));
    assert_eq!(with(0x21, 0, &[9; 40]), Ok((Header::Unnamed, 56)));
    assert_eq!(with(0x21, 0x31, &[9; 216]), Ok((Header::Unnamed, 232)));
    let client = [10, 20, 0, 5, 10, 20, 0, 9, 0, 1, 0, 104];
    // An unknown TLV, and an empty one.
    let tlvs = [&client[..], &[0xee, 0, 2, 7, 7, 4, 0, 0]].concat();
    assert!(with(0x21, 0x11, &tlvs).is_ok());
    for (command, family, body) in [
        (0x21, 0x12, &client[..]),
        (0x21, 0x22, &[1; 36]),
        (0x21, 0x41, &client),
        (0x21, 0x11, &client[..11]),
        (0x21, 0x21, &[1; 35]),
        (0x22, 0x11, &client),
        (0x11, 0x11, &client),
        (0x31, 0x11, &client),
        (0x21, 0x11, &[0; 12]),
        (0x21, 0x11, &[&client[..], &[1, 0]].concat()),
        (0x21, 0x11, &[&client[..], &[1, 0, 1]].concat()),
        (0x21, 0x11, &[&client[..], &[3, 0, 3, 0, 0, 0]].concat()),
        (0x21, 0x11, &[&client[..], &[3, 0, 4, 0, 0, 0, 0]].concat()),
        (0x21, 0x11, &[&client[..], &[9; 4100]].concat()),
    ] {
        assert!(
            with(command, family, body).is_err(),
            "{command:x} {family:x} {body:x?}"
        );
    }
}

#[test]
fn a_header_has_one_checksum_at_most() {
    let mut bytes = described(ends("10.20.0.5:1", "10.20.0.9:104"), "id", None);
    let length = bytes.len();
    assert!(read(&bytes).is_ok());
    bytes.extend([3, 0, 4, 0, 0, 0, 0]);
    let body = u16::try_from(bytes.len() - FIXED).expect("short");
    bytes[14..16].copy_from_slice(&body.to_be_bytes());
    // The first one is right again.
    bytes[length - 4..length].fill(0);
    let sum = crc32c::crc32c(&bytes).to_be_bytes();
    bytes[length - 4..length].copy_from_slice(&sum);
    assert_eq!(read(&bytes), Err(HeaderError::Wrong("two checksums")));
}

/// A seeded generator (xorshift): a failure shows its seed, and runs again with it.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit.max(1)
    }
}

#[test]
fn no_change_of_a_header_makes_its_reader_panic_or_ask_beyond_its_bound() {
    let ends = ends("10.20.0.5:49152", "10.20.0.9:104");
    let tls = TlsFacts {
        version: "TLSv1.2",
        identity: "uri:spiffe://a",
        suite: "s",
    };
    let seeds = [
        described(ends, "id", Some(&tls)),
        between(Ends::new(address("[::1]:1"), address("[::2]:2"))),
        local(),
        LINES[0].0.as_bytes().to_vec(),
        LINES[2].0.as_bytes().to_vec(),
        LINES[6].0.as_bytes().to_vec(),
    ];
    for seed in 1..40_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = u8::try_from(random.below(256)).expect("a byte"),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b' '),
                _ => bytes.extend_from_within(at..),
            }
        }
        let mut taken = 0;
        while let Ok(ParsedHeader::More(count)) = parse(&bytes[..taken]) {
            assert!(
                count > 0 && taken + count <= HEADER_BYTES_MAX,
                "seed {seed}"
            );
            if taken + count > bytes.len() {
                break;
            }
            taken += count;
        }
        if let Ok(ParsedHeader::Header(header, length)) = parse(&bytes) {
            assert!(length <= bytes.len(), "seed {seed}");
            if let (Header::Named(ends), true) = (header, bytes.starts_with(b"\r")) {
                let again = between(Ends::new(ends.source, ends.destination));
                let read = parse(&again);
                assert_eq!(
                    read,
                    Ok(ParsedHeader::Header(header, again.len())),
                    "seed {seed}"
                );
            }
        }
    }
}
