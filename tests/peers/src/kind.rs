//! The faults of one certificate, as changes to its parameters.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SerialNumber};
use time::{Duration, OffsetDateTime};

use crate::authority::{called, day, dns};

/// The serial number of each certificate of [`Kind::Revoked`], which the revocation lists name.
pub const REVOKED_SERIAL: u64 = 0x0bad;

/// The name in the certificates of [`Kind::OtherName`].
pub const OTHER_NAME: &str = "other.example";

/// The correct or wrong property of a certificate. All other properties are as in `Good`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Valid: the right name, client and server usage, current.
    Good,
    /// Issued by an authority that is not trusted.
    OtherAuthority,
    /// Issued for `other.example`.
    OtherName,
    /// Valid until 1 February 2020.
    Expired,
    /// Expires in ten days and an hour. Nothing is wrong with that.
    ExpiresSoon,
    /// Valid from 1 January 2400.
    NotYetValid,
    /// Named in the revocation list.
    Revoked,
    /// A CA certificate (basic constraints) in a site's place.
    AuthorityAsLeaf,
    /// For signing code: neither for clients nor for servers.
    WrongUsage,
    /// For servers alone.
    ServerOnly,
    /// For clients alone.
    ClientOnly,
    /// Issued by itself.
    SelfSigned,
    /// With an RSA key of 1024 bits.
    ShortRsa,
    /// The name is only in the common name.
    CommonNameOnly,
    /// Issued by a CA of an attacker with the trusted authority's name. As many more certificates of that
    /// name as a chain may have are presented with it, each with its own key.
    Namesakes,
    /// Issued by the trusted authority's new key. The certificate that the old key, which is trusted,
    /// issued for the new one is presented with it. Nothing is wrong with that.
    RenewedAuthority,
}

impl Kind {
    /// The kinds that neither mode may accept in its peer, with a revocation list configured, and the words
    /// with which the log must name the fault.
    pub const REFUSED: [(Self, &'static str); 10] = [
        (
            Self::OtherAuthority,
            "issued by no trusted CA of this route",
        ),
        (Self::OtherName, OTHER_NAME),
        (Self::Expired, "expired"),
        (Self::NotYetValid, "not valid before"),
        (Self::Revoked, "revoked"),
        (Self::AuthorityAsLeaf, "CA's certificate"),
        (Self::WrongUsage, "extended key usage"),
        (Self::SelfSigned, "self-signed"),
        (Self::ShortRsa, "RSA key of 1024 bits"),
        (Self::CommonNameOnly, "without a DNS or URI name"),
    ];

    /// Makes the certificate of `name` one of this kind, as far as its own contents decide: the issuer and the
    /// key are the caller's.
    pub fn change(self, name: &str, params: &mut CertificateParams) {
        use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
        match self {
            Self::OtherName => {
                params.subject_alt_names = vec![dns(OTHER_NAME)];
                params.distinguished_name = called(OTHER_NAME);
            }
            Self::CommonNameOnly => {
                params.subject_alt_names = Vec::new();
                params.distinguished_name = called(name);
            }
            Self::Expired => (params.not_before, params.not_after) = (day(2020, 1), day(2020, 2)),
            Self::ExpiresSoon => {
                let now = OffsetDateTime::now_utc();
                params.not_before = now - Duration::days(100);
                params.not_after = now + Duration::days(10) + Duration::HOUR;
            }
            Self::NotYetValid => {
                (params.not_before, params.not_after) = (day(2400, 1), day(2401, 1));
            }
            Self::Revoked => params.serial_number = Some(SerialNumber::from(REVOKED_SERIAL)),
            Self::AuthorityAsLeaf => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Self::WrongUsage => params.extended_key_usages = vec![CodeSigning],
            Self::ServerOnly => params.extended_key_usages = vec![ServerAuth],
            Self::ClientOnly => params.extended_key_usages = vec![ClientAuth],
            Self::Good
            | Self::OtherAuthority
            | Self::SelfSigned
            | Self::ShortRsa
            | Self::Namesakes
            | Self::RenewedAuthority => {}
        }
    }
}
