//! How one CA follows another: the next CA, and certificates that change to it.

use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::{
    Authority, AuthorityError, CRL_DAYS, Issued, KeyType, NewAuthority, OutputFiles, Permitted,
    file_error,
};

impl Authority {
    /// Its certificate.
    #[must_use]
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs a message with the key of the CA.
    ///
    /// # Errors
    ///
    /// `Crypto`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        Ok(rcgen::SigningKey::sign(&*self.key, message)?)
    }

    /// Makes the CA that follows this one, in a folder of its own: with the same name and kind of key, a new key, and
    /// `days` from now.
    ///
    /// # Errors
    ///
    /// As for `init`; `File` if this CA is restricted to some names, because a person has to decide on those.
    pub(crate) fn successor(
        &self,
        dir: &Path,
        days: u32,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        if self.facts.constraints.is_some() {
            let problem = "is of a CA that is restricted to some names, which has no automatic successor; make the next CA \
                           as the guide's \"Replace the CA\" describes"
                .to_owned();
            return Err(file_error(&self.dir.join("ca.pem"), problem));
        }
        let name = self
            .facts
            .subject
            .strip_prefix("CN=")
            .unwrap_or(&self.facts.subject);
        let wanted = NewAuthority {
            name: name.to_owned(),
            key: if self.facts.key.bits == 256 {
                KeyType::P256
            } else {
                KeyType::P384
            },
            days,
            crl_days: CRL_DAYS,
            permitted: Permitted {
                dns: Vec::new(),
                uri: Vec::new(),
            },
        };
        Self::init(dir, &wanted, now)
    }

    /// As `renew`, for a certificate that the predecessor of this CA has issued.
    ///
    /// # Errors
    ///
    /// As for `renew`.
    pub(crate) fn renew_after(
        &mut self,
        predecessor: &Self,
        output: &OutputFiles,
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let old = predecessor.read_issued(&output.certificate)?;
        self.renew_as(&old, output, days, now)
    }
}
