//! Describes the errors of webpki, which verifies certificates, for operators, who do not know its names.

/// The end of a sentence about the certificate or list that caused the error.
pub(crate) fn webpki_error_text(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::BadDer | E::TrailingData(_) => "its DER is broken",
        E::BadDerTime => "one of its dates is not a valid time (RFC 5280 section 4.1.2.5)",
        E::InvalidCertValidity => "its last day is before its first day",
        E::UnsupportedCertVersion => "it is not an X.509 certificate of version 3",
        E::SignatureAlgorithmMismatch => "it names two different signature algorithms",
        E::ExtensionValueInvalid | E::MalformedExtensions => {
            "one of its extensions is invalid, or occurs twice"
        }
        E::UnsupportedCriticalExtension => {
            "it has a critical extension that wardgate does not know"
        }
        E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            "its name constraints are invalid"
        }
        E::MalformedDnsIdentifier | E::UnsupportedNameType => "one of its names is invalid",
        E::MaximumPathDepthExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => {
            "the chain is too large for the search of a path"
        }
        E::InvalidSerialNumber => "a serial number in it is invalid",
        E::InvalidCrlNumber => "its CRL number is invalid",
        E::UnsupportedCrlVersion => "it is not a list of version 2",
        E::UnsupportedDeltaCrl => "it lists only changes to another list",
        E::UnsupportedIndirectCrl => "it holds entries of several CAs",
        E::UnsupportedCrlIssuingDistributionPoint => {
            "its issuing distribution point is of a kind that is not supported"
        }
        E::UnsupportedRevocationReason | E::UnsupportedRevocationReasonsPartitioning => {
            "it covers only some reasons of revocation"
        }
        _ => "a rule of RFC 5280 is broken",
    }
}
