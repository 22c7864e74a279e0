//! Certificates that `openssl` makes and no library here does.

use rustls::pki_types::CertificateDer;

use super::PEER;

/// A folder in which `openssl` makes a CA and certificates of it.
pub(super) struct Openssl(tempfile::TempDir);

impl Openssl {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn run(&self, arguments: &str) {
        let mut command = std::process::Command::new("openssl");
        let command = command
            .args(arguments.split(' '))
            .current_dir(self.0.path());
        let output = command.output().expect("openssl");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {error}");
    }

    fn read(&self, name: &str) -> CertificateDer<'static> {
        std::fs::read(self.0.path().join(name))
            .expect("it was made")
            .into()
    }

    /// A CA with this key, and a certificate that it signs with these options.
    pub(super) fn issue(
        &self,
        key: &str,
        options: &str,
    ) -> (CertificateDer<'static>, CertificateDer<'static>) {
        (self.ca(key), self.sign(options))
    }

    /// A CA with this key.
    pub(super) fn ca(&self, key: &str) -> CertificateDer<'static> {
        self.run(&format!("genpkey {key} -out ca.key"));
        self.run("req -x509 -new -key ca.key -subj /CN=Hospital -days 30 -outform DER -out ca.der");
        self.run("x509 -inform DER -in ca.der -out ca.pem");
        self.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out leaf.key");
        self.run("req -new -key leaf.key -subj /CN=gateway -out leaf.csr");
        self.read("ca.der")
    }

    /// A certificate that the CA signs with these options.
    pub(super) fn sign(&self, options: &str) -> CertificateDer<'static> {
        let extensions =
            format!("subjectAltName=DNS:{PEER}\nextendedKeyUsage=clientAuth,serverAuth\n");
        std::fs::write(self.0.path().join("ext"), extensions).expect("written");
        let options = format!("{options} -outform DER -out leaf.der");
        self.run(&format!(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days 30 -extfile ext {}",
            options.trim_start()
        ));
        self.read("leaf.der")
    }

    /// A certificate for a key of this kind that the CA signs.
    pub(super) fn sign_for(&self, key: &str) -> CertificateDer<'static> {
        self.run(&format!("genpkey {key} -out other.key"));
        self.run("pkey -in other.key -pubout -out other.pem");
        self.sign("-sha256 -force_pubkey other.pem")
    }
}
