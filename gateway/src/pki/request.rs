//! A certificate signing request (PKCS#10, RFC 2986) for a site's certificate from an existing CA.

use std::path::{Path, PathBuf};

use rcgen::{IsCa, KeyPair};
use zeroize::Zeroizing;

use super::authority_error::AuthorityError;
use super::file::{self, FileRole};
use super::folder::{
    WriteMode, create_folder, file_error, refuse_existing, write_public, write_site_key,
};
use super::profile::{KeyType, NewCertificate, leaf_params};
use super::write;

/// What a request asks for, and its files.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// DNS names, without wildcards.
    pub dns: Vec<String>,
    /// URI names.
    pub uri: Vec<String>,
    /// The type of a new key; `None` means P-256. An existing key stays as it is.
    pub key_type: Option<KeyType>,
    /// The file of the private key, PEM. It is made if it does not exist.
    pub key: PathBuf,
    /// The file of the request, PEM, which must not exist.
    pub request: PathBuf,
}

/// A request that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestWritten {
    /// `dns:` and `uri:` names.
    pub names: Vec<String>,
    /// Whether the key is new.
    pub is_key_new: bool,
}

/// Writes a request for the names of `wanted`, signed by its key. The request asks for the usages that a
/// gateway's certificate needs: digital signatures, as a TLS server and as a TLS client.
///
/// # Errors
///
/// `Exists` if the file of the request exists, or if the key exists and a type was requested; `File` for an
/// existing key that cannot be used; `Name`, `Write` and `Crypto`.
pub fn make_request(wanted: &NewRequest) -> Result<RequestWritten, AuthorityError> {
    if wanted.request == wanted.key {
        let problem = "is named for request and key alike; name two files".to_owned();
        return Err(file_error(&wanted.key, problem));
    }
    refuse_existing(&wanted.request, "name another file with --out")?;
    let names = NewCertificate {
        dns: wanted.dns.clone(),
        uri: wanted.uri.clone(),
        key: wanted.key_type.unwrap_or(KeyType::P256),
        days: 1,
    };
    // The CA chooses dates and serial number, which a request cannot contain.
    let mut params = leaf_params(&names, 0, 1)?;
    params.serial_number = None;
    params.use_authority_key_identifier_extension = false;
    // CAs add this extension themselves, and some refuse requests with it.
    params.is_ca = IsCa::NoCa;
    let is_key_new = wanted.key.symlink_metadata().is_err();
    let key = match is_key_new {
        true => names.key.generate()?,
        false => existing_key(wanted)?,
    };
    let pem = params.serialize_request(&*key)?.pem()?;
    create_folder(write::folder(&wanted.request))?;
    if is_key_new {
        create_folder(write::folder(&wanted.key))?;
        write_site_key(&wanted.key, &key)?;
    }
    write_public(&wanted.request, &pem, WriteMode::New)?;
    let dns = names
        .dns
        .iter()
        .map(|name| format!("dns:{}", name.to_ascii_lowercase()));
    let uri = names.uri.iter().map(|name| format!("uri:{name}"));
    Ok(RequestWritten {
        names: dns.chain(uri).collect(),
        is_key_new,
    })
}

fn existing_key(wanted: &NewRequest) -> Result<Zeroizing<KeyPair>, AuthorityError> {
    let path: &Path = &wanted.key;
    if wanted.key_type.is_some() {
        let remedy = "leave out --key to use this key, or name another file with --key-out";
        refuse_existing(path, remedy)?;
    }
    let raw = file::read(path, FileRole::Key).map_err(|problem| file_error(path, problem))?;
    if let Some(problem) = raw.key_mode_problem(path, FileRole::Key) {
        return Err(file_error(path, problem));
    }
    let contents =
        file::parse_pem(path, &raw.bytes).map_err(|problem| file_error(path, problem))?;
    let [key] = contents.keys.as_slice() else {
        let problem = "does not hold one private key in PEM without a passphrase; name another file with --key-out";
        return Err(file_error(path, problem.to_owned()));
    };
    let key = KeyPair::try_from(key).map_err(|_| {
        let problem = "holds a key that cannot sign a request; name a new file with --key-out, and the key is made";
        file_error(path, problem.to_owned())
    })?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::super::fixture::openssl;
    use super::*;

    fn wanted(dir: &TempDir) -> NewRequest {
        NewRequest {
            dns: vec!["GW.hospital.example".to_owned()],
            uri: vec!["urn:nhs:ods:X26".to_owned()],
            key_type: None,
            key: dir.path().join("pki/site.key"),
            request: dir.path().join("pki/site.csr"),
        }
    }

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn openssl_verifies_a_request_and_finds_the_names_and_usages_in_it() {
        let dir = folder();
        let written = make_request(&wanted(&dir)).expect("written");
        assert!(written.is_key_new);
        assert_eq!(
            written.names,
            ["dns:gw.hospital.example", "uri:urn:nhs:ods:X26"]
        );
        let mode = std::fs::metadata(&wanted(&dir).key)
            .expect("a key")
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o600);
        let text = openssl(dir.path(), "req -in pki/site.csr -verify -noout -text");
        for part in [
            "Subject: CN",
            "DNS:gw.hospital.example, URI:urn:nhs:ods:X26",
            "TLS Web Server Authentication, TLS Web Client Authentication",
            "Digital Signature",
            "ASN1 OID: prime256v1",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("CA:"), "{text}");
    }

    #[test]
    fn an_existing_key_is_used_again_and_no_file_is_overwritten() {
        let dir = folder();
        let first = wanted(&dir);
        make_request(&first).expect("written");
        let key = std::fs::read(&first.key).expect("a key");
        let error = make_request(&first).expect_err("it exists").to_string();
        assert!(error.contains("site.csr\" exists already"), "{error}");
        let again = NewRequest {
            request: dir.path().join("next.csr"),
            ..first.clone()
        };
        let other_type = NewRequest {
            key_type: Some(KeyType::P384),
            ..again.clone()
        };
        let error = make_request(&other_type)
            .expect_err("the key exists")
            .to_string();
        assert!(error.contains("leave out --key to use this key"), "{error}");
        assert!(!make_request(&again).expect("written").is_key_new);
        assert_eq!(std::fs::read(&first.key).expect("a key"), key);
        let public = |file: &str| openssl(dir.path(), &format!("req -in {file} -noout -pubkey"));
        assert_eq!(public("pki/site.csr"), public("next.csr"));
    }

    #[test]
    fn a_key_that_others_can_read_signs_no_request() {
        let dir = folder();
        let first = wanted(&dir);
        make_request(&first).expect("written");
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&first.key, open).expect("chmod");
        let again = NewRequest {
            request: dir.path().join("next.csr"),
            ..first
        };
        let error = make_request(&again).expect_err("an open key").to_string();
        assert!(error.contains("has mode 0644"), "{error}");
        assert!(!again.request.exists());
    }
}
