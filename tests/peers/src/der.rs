//! Certificates byte by byte, with faults that no library writes.

/// One element: its tag, and its contents in parts.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let octets = length.to_be_bytes();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let mut whole = vec![tag];
    match length {
        0..=127 => whole.push(length as u8),
        _ => {
            whole.push(0x80 | (octets.len() - zeros) as u8);
            whole.extend(&octets[zeros..]);
        }
    }
    parts.iter().for_each(|part| whole.extend(*part));
    whole
}

/// A Name of one common name.
pub fn name(common_name: &str) -> Vec<u8> {
    let value = element(0x0c, &[common_name.as_bytes()]);
    let attribute = element(0x30, &[&[6, 3, 0x55, 4, 3], &value]);
    element(0x30, &[&element(0x31, &[&attribute])])
}

/// An extension that is not critical. `oid` are the contents of its identifier.
pub fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    element(0x30, &[&element(6, &[oid]), &element(4, &[value])])
}

/// A SubjectAltName of these GeneralNames, each with tag and length.
pub fn alternative_names(names: &[Vec<u8>]) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x11], &element(0x30, &[&names.concat()]))
}

/// A SubjectPublicKeyInfo of an Ed25519 key. Any 32 bytes are one.
pub fn ed25519(key: &[u8; 32]) -> Vec<u8> {
    let algorithm = element(0x30, &[ED25519]);
    element(0x30, &[&algorithm, &element(3, &[&[0], key])])
}

/// A SubjectPublicKeyInfo that looks like a P-256 key but is invalid.
pub fn p256(octet: u8) -> Vec<u8> {
    let algorithm = element(0x30, &[EC_PUBLIC_KEY, P256]);
    element(0x30, &[&algorithm, &element(3, &[&[0, 4], &[octet; 64]])])
}

/// `ecdsa-with-SHA256` as an AlgorithmIdentifier.
pub fn ecdsa_sha256() -> Vec<u8> {
    element(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])
}

/// Ed25519 as an OBJECT IDENTIFIER.
pub const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
const EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// The parts of a certificate, each with tag and length.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Serial number: one byte below 128.
    pub serial: u8,
    /// Name of its issuer.
    pub issuer: Vec<u8>,
    /// Name of its subject.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// The claimed signature algorithm.
    pub algorithm: Vec<u8>,
    /// Its last year; it begins in 2020.
    pub until: u16,
    /// Extensions, one after the other.
    pub extensions: Vec<u8>,
}

impl Parts {
    /// A certificate of `subject` that names `issuer`, valid until 2049.
    pub fn new(subject: &str, issuer: &str) -> Self {
        Self {
            serial: 7,
            issuer: name(issuer),
            subject: name(subject),
            key: p256(1),
            algorithm: ecdsa_sha256(),
            until: 2049,
            extensions: Vec::new(),
        }
    }

    /// The same with another key.
    pub fn with_key(self, key: Vec<u8>) -> Self {
        Self { key, ..self }
    }

    /// The same with one extension more.
    pub fn with(mut self, extension: &[u8]) -> Self {
        self.extensions.extend(extension);
        self
    }

    /// The same as a CA's certificate.
    pub fn of_ca(self) -> Self {
        self.with(&extension(&[0x55, 0x1d, 0x13], &[0x30, 3, 1, 1, 0xff]))
    }

    /// TBSCertificate: what is signed.
    pub fn tbs(&self) -> Vec<u8> {
        let until = format!("{:02}0101000000Z", self.until % 100);
        let dates = [
            element(0x17, &[b"200101000000Z"]),
            element(0x17, &[until.as_bytes()]),
        ];
        let extensions = element(0xa3, &[&element(0x30, &[&self.extensions])]);
        element(
            0x30,
            &[
                &[0xa0, 3, 2, 1, 2],
                &[2, 1, self.serial],
                &self.algorithm,
                &self.issuer,
                &element(0x30, &[&dates.concat()]),
                &self.subject,
                &self.key,
                if self.extensions.is_empty() {
                    &[]
                } else {
                    &extensions
                },
            ],
        )
    }

    /// The certificate with this signature.
    pub fn signed(&self, signature: &[u8]) -> Vec<u8> {
        certificate(&self.tbs(), &self.algorithm, signature)
    }

    /// The certificate with an invalid ECDSA signature.
    pub fn forged(&self) -> Vec<u8> {
        let number = element(2, &[&[0x11; 32]]);
        self.signed(&element(0x30, &[&number, &number]))
    }
}

/// A certificate of its parts.
pub fn certificate(tbs: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    element(0x30, &[tbs, algorithm, &element(3, &[&[0], signature])])
}

/// A block of PEM with this label.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, three) in der.chunks(3).enumerate() {
        if index % 16 == 0 {
            text.push('\n');
        }
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(*three.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            text.push(match at <= three.len() {
                true => char::from(ALPHABET[bits >> (18 - 6 * at) & 63]),
                false => '=',
            });
        }
    }
    format!("-----BEGIN {label}-----{text}\n-----END {label}-----\n")
}
