//! The private key of an identity.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::Error;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroize;

/// A private key: as its file has it until it is used for the first time, and from then on only in the form of
/// the cryptographic library. An identity is kept for as long as the gateway runs, but its file's bytes are not.
pub struct IdentityKey(Mutex<KeyForm>);

enum KeyForm {
    File(PrivateKeyDer<'static>),
    Signing(Arc<dyn SigningKey>),
}

impl IdentityKey {
    /// The key in the form that signs. The first call makes it with `load`, and wipes the bytes of the file.
    ///
    /// # Errors
    /// The error of `load`.
    pub(crate) fn signing(
        &self,
        load: impl FnOnce(&PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, Error>,
    ) -> Result<Arc<dyn SigningKey>, Error> {
        // A panic in `load` leaves the key as it was.
        let mut form = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signing = match &*form {
            KeyForm::Signing(key) => return Ok(Arc::clone(key)),
            KeyForm::File(key) => load(key)?,
        };
        if let KeyForm::File(key) = &mut *form {
            key.zeroize();
        }
        *form = KeyForm::Signing(Arc::clone(&signing));
        Ok(signing)
    }
}

impl From<PrivateKeyDer<'static>> for IdentityKey {
    fn from(key: PrivateKeyDer<'static>) -> Self {
        Self(Mutex::new(KeyForm::File(key)))
    }
}

impl From<PrivatePkcs8KeyDer<'static>> for IdentityKey {
    fn from(key: PrivatePkcs8KeyDer<'static>) -> Self {
        PrivateKeyDer::from(key).into()
    }
}

impl Drop for IdentityKey {
    fn drop(&mut self) {
        let form = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let KeyForm::File(key) = form {
            key.zeroize();
        }
    }
}

// Prevents the key from being logged by accident.
impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey")
    }
}
