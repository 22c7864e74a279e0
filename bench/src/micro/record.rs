//! Records of TLS 1.3 with AES-256-GCM, sealed and opened in place, with aws-lc and ring, and the bare
//! ciphers.

use std::time::{Duration, Instant};

use gateway::buffers::limits::{PLAINTEXT_ROOM, RECORD_HEADER, RECORD_ROOM};
use gateway::tls::Cipher;
use gateway::tls::record::{Content, Opener, Sealer};
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::cipher::{AeadKey, Iv};

use super::{Case, Turn};

/// Records of one turn, as many as a large batch has.
const RECORDS: usize = 64;

const LARGE: usize = PLAINTEXT_ROOM;
const SMALL: usize = 200;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("seal-16k", LARGE, || Seal::begin(Cipher::AwsLc, LARGE)),
        case("seal-200", SMALL, || Seal::begin(Cipher::AwsLc, SMALL)),
        case("open-16k", LARGE, || Open::begin(Cipher::AwsLc, LARGE)),
        case("open-200", SMALL, || Open::begin(Cipher::AwsLc, SMALL)),
        case("seal-ring-16k", LARGE, || Seal::begin(Cipher::Ring, LARGE)),
        case("seal-ring-200", SMALL, || Seal::begin(Cipher::Ring, SMALL)),
        case("open-ring-16k", LARGE, || Open::begin(Cipher::Ring, LARGE)),
        case("open-ring-200", SMALL, || Open::begin(Cipher::Ring, SMALL)),
        case("aws-lc-16k", LARGE, || AwsLc::begin(LARGE)),
        case("aws-lc-200", SMALL, || AwsLc::begin(SMALL)),
        case("ring-16k", LARGE, || Ring::begin(LARGE)),
        case("ring-200", SMALL, || Ring::begin(SMALL)),
    ]
}

fn case(name: &'static str, octets: usize, begin: fn() -> anyhow::Result<Box<dyn Turn>>) -> Case {
    Case {
        name,
        operations: RECORDS as u32,
        octets,
        begin,
    }
}

/// Both ends of one direction, and memory for a batch of records.
struct Line {
    sealer: Sealer,
    opener: Opener,
    rooms: Vec<u8>,
    octets: usize,
}

impl Line {
    fn new(cipher: Cipher, octets: usize) -> Self {
        let secrets = || ConnectionTrafficSecrets::Aes256Gcm {
            key: AeadKey::from([7; 32]),
            iv: Iv::from([9; 12]),
        };
        Self {
            sealer: Sealer::new(cipher, 0, &secrets()).expect("it is AES-GCM"),
            opener: Opener::new(cipher, 0, &secrets()).expect("it is AES-GCM"),
            rooms: vec![0x5a; RECORDS * RECORD_ROOM],
            octets,
        }
    }

    // A separate function, so that a profile shows it.
    #[inline(never)]
    fn seal(&mut self) {
        for room in self.rooms.chunks_mut(RECORD_ROOM) {
            let sealed = self.sealer.seal(Content::Data, room, self.octets);
            sealed.expect("the room is there");
        }
    }

    #[inline(never)]
    fn open(&mut self) {
        for room in self.rooms.chunks_mut(RECORD_ROOM) {
            let record = self.opener.open(room).expect("it was sealed in order");
            let record = record.expect("it is whole");
            assert_eq!(record.range.len(), self.octets);
        }
    }
}

struct Seal(Line);

impl Seal {
    fn begin(cipher: Cipher, octets: usize) -> anyhow::Result<Box<dyn Turn>> {
        Ok(Box::new(Self(Line::new(cipher, octets))))
    }
}

impl Turn for Seal {
    fn turn(&mut self) -> Duration {
        let start = Instant::now();
        self.0.seal();
        start.elapsed()
    }
}

struct Open(Line);

impl Open {
    fn begin(cipher: Cipher, octets: usize) -> anyhow::Result<Box<dyn Turn>> {
        Ok(Box::new(Self(Line::new(cipher, octets))))
    }
}

impl Turn for Open {
    fn turn(&mut self) -> Duration {
        self.0.seal();
        let start = Instant::now();
        self.0.open();
        start.elapsed()
    }
}

/// The same cipher work without a record layer around it.
macro_rules! bare {
    ($name:ident, $crate_name:ident) => {
        struct $name {
            key: $crate_name::aead::LessSafeKey,
            rooms: Vec<u8>,
            octets: usize,
        }

        impl $name {
            fn begin(octets: usize) -> anyhow::Result<Box<dyn Turn>> {
                use $crate_name::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
                let key = UnboundKey::new(&AES_256_GCM, &[7; 32]);
                let key = key.map_err(|_| anyhow::anyhow!("the key has another length"))?;
                Ok(Box::new(Self {
                    key: LessSafeKey::new(key),
                    rooms: vec![0x5a; RECORDS * RECORD_ROOM],
                    octets,
                }))
            }
        }

        impl Turn for $name {
            fn turn(&mut self) -> Duration {
                use $crate_name::aead::{Aad, Nonce};
                let start = Instant::now();
                for (number, room) in self.rooms.chunks_mut(RECORD_ROOM).enumerate() {
                    let nonce = Nonce::assume_unique_for_key([number as u8; 12]);
                    let inner = &mut room[RECORD_HEADER..=RECORD_HEADER + self.octets];
                    let tag = self
                        .key
                        .seal_in_place_separate_tag(nonce, Aad::from([0; 5]), inner);
                    let _ = std::hint::black_box(tag.expect("it is short"));
                }
                start.elapsed()
            }
        }
    };
}

bare!(AwsLc, aws_lc_rs);
bare!(Ring, ring);
