//! Orthanc with DICOM TLS, with one gateway in each mode. The test controls it through its REST interface, on
//! loopback.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;
use wardgate_tests::pki::{Key, Leaf};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Pki, Program, dicom, free_port, http, until};

use crate::pair::{A, B, assert_accepted, originate, terminate};
use crate::peers::{DCMTK, storescp, storescu};

/// Orthanc uses DCMTK's TLS: ECDSA works only in TLS 1.3, RSA in both versions.
const KEYS: [Key; 2] = [Key::P256, Key::Rsa(2048)];

#[test]
fn orthanc_with_tls_takes_a_series_from_originate() {
    if !ready() {
        return;
    }
    for key in KEYS {
        let pki = Pki::new();
        let sent = TempDir::new().expect("there is room");
        let files = dicom::series(sent.path(), "WARDGATE", 6, 256);
        let (entry, wan) = (free_port(), free_port());
        let orthanc = Orthanc::start(&pki.leaf_with(B, key), wan, free_port());
        let site = originate(&pki, "dicom", entry, wan).start();
        storescu(entry, &["-R", "-aec", "ORTHANC"], &files)
            .run()
            .expect_success();
        assert_eq!(orthanc.objects(), dicom::objects_in(&files));
        for line in site.wait_for_connections(1) {
            assert_accepted(&line, B);
        }
        site.stop();
    }
}

#[test]
fn orthanc_with_tls_stores_through_terminate() {
    if !ready() {
        return;
    }
    for key in KEYS {
        let pki = Pki::new();
        let sent = TempDir::new().expect("there is room");
        let received = TempDir::new().expect("there is room");
        let files = dicom::series(sent.path(), "WARDGATE", 6, 256);
        let (wan, target) = (free_port(), free_port());
        let _scp = storescp(target, received.path());
        let site = terminate(&pki, "dicom", wan, target).start();
        let orthanc = Orthanc::start(&pki.leaf_with(A, key), free_port(), wan);
        for file in &files {
            orthanc.upload(&std::fs::read(file).expect("the test wrote it"));
        }
        orthanc.store_everything();
        assert_eq!(dicom::objects(received.path()), dicom::objects_in(&files));
        for line in site.wait_for_connections(1) {
            assert_accepted(&line, A);
        }
        site.stop();
    }
}

fn ready() -> bool {
    tier::ready(
        "interop",
        &[DCMTK.as_slice(), &[Need::Program("Orthanc")]].concat(),
    )
}

/// A running Orthanc that knows one remote modality, `far`.
pub(crate) struct Orthanc {
    rest: SocketAddr,
    _server: Background,
    folder: TempDir,
}

impl Orthanc {
    /// With DICOM TLS, also to the modality.
    fn start(leaf: &Leaf, port: u16, far: u16) -> Self {
        Self::with(
            port,
            json!({
                "DicomTlsEnabled": true,
                "DicomTlsCertificate": leaf.certificate,
                "DicomTlsPrivateKey": leaf.key,
                "DicomTlsTrustedCertificates": leaf.trust,
                "DicomTlsRemoteCertificateRequired": true,
                "DicomModalities": {
                    "far": {
                        "AET": "STORESCP", "Host": "127.0.0.1", "Port": far, "UseDicomTls": true
                    }
                }
            }),
        )
    }

    /// Without TLS; the modality has this title.
    pub(crate) fn plain(port: u16, title: &str, far: u16) -> Self {
        let far = json!({ "AET": title, "Host": "127.0.0.1", "Port": far });
        Self::with(port, json!({ "DicomModalities": { "far": far } }))
    }

    /// Adds another remote modality, without TLS.
    pub(crate) fn knows(&self, name: &str, title: &str, port: u16) {
        let far = json!({ "AET": title, "Host": "127.0.0.1", "Port": port }).to_string();
        let path = format!("/modalities/{name}");
        let response = http::request(self.rest, "PUT", &path, far.as_bytes());
        assert_eq!(response.status, 200, "{}", response.text());
    }

    fn with(port: u16, keys: Value) -> Self {
        let folder = TempDir::new().expect("there is room");
        let rest = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut config = json!({
            "Name": "orthanc",
            "StorageDirectory": folder.path().join("store"),
            "IndexDirectory": folder.path().join("store"),
            "HttpPort": rest.port(),
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "DicomAet": "ORTHANC",
            "DicomPort": port,
            "DicomAlwaysAllowStore": true,
        });
        let (Value::Object(all), Value::Object(keys)) = (&mut config, keys) else {
            panic!("both are objects");
        };
        all.extend(keys);
        let file = folder.path().join("orthanc.json");
        std::fs::write(&file, config.to_string()).expect("there is room");
        let mut server = Background::start(&Program::new("Orthanc").arg(file));
        server.wait_for_port(port);
        server.wait_for_port(rest.port());
        Self {
            rest,
            _server: server,
            folder,
        }
    }

    pub(crate) fn upload(&self, file: &[u8]) {
        let response = http::post(self.rest, "/instances", file);
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Sends all instances to `far`, and waits for the end.
    pub(crate) fn store_everything(&self) {
        self.ask("/modalities/far/store", &self.instances());
    }

    /// Posts to a path of its REST interface, and returns the answer.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Value {
        let response = http::post(self.rest, path, body.to_string().as_bytes());
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_slice(&response.body).unwrap_or_default()
    }

    /// Its objects, read back through REST.
    fn objects(&self) -> Vec<dicom::Object> {
        let instances = self.instances();
        let ids = instances.as_array().expect("REST gives a list");
        let files = ids.iter().enumerate().map(|(number, id)| {
            let id = id.as_str().expect("ids are text");
            let response = http::get(self.rest, &format!("/instances/{id}/file"));
            let file = self.folder.path().join(format!("{number}.dcm"));
            std::fs::write(&file, response.body).expect("there is room");
            file
        });
        dicom::objects_in(&files.collect::<Vec<_>>())
    }

    fn instances(&self) -> Value {
        until("Orthanc answers", DEADLINE, || {
            let response = http::get(self.rest, "/instances");
            serde_json::from_slice(&response.body).ok()
        })
    }
}
