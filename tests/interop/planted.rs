//! A name in every place where a patient's name may be: it passes, and no log or metric shows it.
//!
//! ```text
//! modality -tap-> A ===tap===> B -tap-> archive       DICOM, and the way back
//! sender   -tap-> A ===tap===> B -tap-> receiver      HL7
//! ```
//!
//! The logs have one level, which shows everything that the program logs; A writes JSON, B text. Values that
//! are logged on purpose (AE titles, names of implementations, types of messages) do not contain the name
//! here.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;

use tempfile::TempDir;
use wardgate_tests::stream::connect;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Pki, Program, Site, free_port, http, until, wardgate};

use crate::dicom_bytes::{acceptance, hear, local, pdu, request};
use crate::pair::{A, B};
use crate::peers::{Echo, loopback};
use crate::recorded::{archive, modality};
use crate::tap::Tap;

/// No other word and no number of the program contains this text.
const MARKER: &str = "ZZPATIENTMARKER";

/// The scenarios of the modality; in each, the name goes to the archive or comes from it.
const SCENARIOS: [&str; 11] = [
    "store:14",
    "find:9",
    "worklist:5",
    "cancel",
    "fail",
    "get:9",
    "move:9",
    "astray",
    "aborted",
    "reject",
    "everything:3",
];

/// A secret in a comment of the configuration.
const TOKEN: &str = "ZZWEBTOKEN";

/// The connections that A and B log: those of the scenarios, those that come back for `move`, the invalid
/// ones, and those of HL7. Connections that are invalid from the first byte end at A.
const CONNECTIONS: [usize; 2] = [SCENARIOS.len() + 1 + 7 + 3, SCENARIOS.len() + 1 + 4 + 2];
/// Texts that both logs contain.
const LOGGED: [&str; 7] = [
    "released",
    "aborted",
    "rejected",
    "C-MOVE 1",
    "ORU^R01 2",
    "bytes of the sender are outside",
    "association no longer observed",
];

#[test]
fn a_planted_name_is_in_no_log_no_metric_and_not_between_the_sites() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let chain = Chain::start();
    chain.speak_dicom();
    chain.speak_nonsense();
    // Meanwhile, a conversation with the name in it is open.
    chain.speak_hl7(|| {
        for gateway in [&chain.a, &chain.b] {
            gateway.look();
        }
    });
    // Proof that the search finds each form.
    for tap in &chain.plain {
        assert!(holds_one_of(&tap.bytes(), &utf_8()), "a plain leg");
    }
    for tap in chain.plain.iter().skip(2) {
        for form in utf_16() {
            assert!(holds_one_of(&tap.bytes(), &[form]), "plain HL7");
        }
    }
    for (plain, between) in chain.plain.iter().step_by(2).zip(&chain.between) {
        let (plain, bytes) = (plain.bytes(), between.bytes());
        assert!(bytes.len() > plain.len(), "it passed between the sites");
        assert_clean("what passed between the sites", &bytes);
    }
    assert_clean("what came back", &chain.between[2].bytes());
    for (gateway, count) in [chain.a, chain.b].into_iter().zip(CONNECTIONS) {
        assert_clean("the metrics", gateway.metrics().as_bytes());
        assert_clean("the web page", gateway.page().as_bytes());
        assert_clean("the status", gateway.status().as_bytes());
        let bundle = gateway.support_bundle(&chain.keys);
        assert_clean("the support bundle", bundle.as_bytes());
        let log = gateway.stop(count);
        for words in LOGGED {
            assert!(log.contains(words), "no {words:?} in\n{log}");
        }
        assert_clean("the log", log.as_bytes());
    }
}

/// Both gateways, with a tap on each leg.
struct Chain {
    a: Running,
    b: Running,
    /// The ports of DICOM at both sites, and the same for HL7.
    plain: [Tap; 4],
    /// DICOM, HL7, and the associations that come back.
    between: [Tap; 3],
    home: u16,
    /// The contents of the private keys.
    keys: Vec<String>,
    _archive: Background,
    _pki: Pki,
}

impl Chain {
    fn start() -> Self {
        let pki = Pki::new();
        let [entry, wan, port, home, back, back_wan] = [(); 6].map(|()| free_port());
        let [hl7_entry, hl7_wan] = [(); 2].map(|()| free_port());
        let plain = [entry, port, hl7_entry, Echo::start().port].map(Tap::to);
        let between = [wan, hl7_wan, back_wan].map(Tap::to);
        let archive = archive(back, &[(port, 16_382)]);
        let (to_a, to_b) = ([format!("dns:{A}")], [format!("dns:{B}")]);
        let b = Site::new(&pki, B)
            .gateway("log", "\"text\"")
            .gateway("web", "true")
            .terminate(loopback(wan), loopback(plain[1].port), &to_a)
            .originate(loopback(back), loopback(between[2].port), &to_a)
            .terminate(loopback(hl7_wan), loopback(plain[3].port), &to_a)
            .protocol("mllp");
        let a = Site::new(&pki, A)
            .gateway("web", "true")
            .originate(loopback(entry), loopback(between[0].port), &to_b)
            .terminate(loopback(back_wan), loopback(home), &to_b)
            .originate(loopback(hl7_entry), loopback(between[1].port), &to_b)
            .protocol("mllp");
        let keys = [A, B].map(|name| pki.leaf(name).key);
        let keys = keys.map(|file| fs::read_to_string(file).expect("our file"));
        Self {
            keys: keys.into(),
            b: Running::start(b),
            a: Running::start(a),
            plain,
            between,
            home,
            _archive: archive,
            _pki: pki,
        }
    }

    fn speak_dicom(&self) {
        let program = modality(self.home).env("MARKER", MARKER);
        let program = program.arg(self.plain[0].port.to_string()).args(SCENARIOS);
        program.run().expect_success();
    }

    /// The name in places where no application puts it.
    fn speak_nonsense(&self) {
        let name = MARKER.repeat(40).into_bytes();
        let value = |control: u8, bytes: &[u8]| {
            let length = u32::try_from(bytes.len() + 2).expect("short");
            let value = [&length.to_be_bytes()[..], &[1, control], bytes].concat();
            pdu(4, &value)
        };
        // A command set of another group, which is invalid.
        let element = [&[0x10, 0, 0x10, 0, 15, 0, 0, 0][..], MARKER.as_bytes()].concat();
        for bytes in [
            name.clone(),
            [request(), name.clone()].concat(),
            [request(), value(2, &name)].concat(),
            [request(), acceptance(), value(3, &element)].concat(),
            [request(), pdu(9, &name)].concat(),
            pdu(1, &name),
        ] {
            say(self.plain[0].port, &bytes);
        }
        // An archive that does not understand the name either.
        say(self.plain[0].port, &[&b"\x16\x03\x01"[..], &name].concat());
    }

    /// The name in messages. Calls `while_open` while a connection that has carried all of them is open.
    fn speak_hl7(&self, while_open: impl FnOnce()) {
        let frame = |text: &[u8]| [&[0x0b], text, &[0x1c, 0x0d]].concat();
        let message = |name: &str, kind: &str| {
            format!(
                "MSH|^~\\&|{name}|{name}|{name}|{name}|20260101||{kind}|{name}|P|2.5.1\r\
                 PID|1||{name}^^^A||{name}^X\rMSA|{name}|{name}\r"
            )
        };
        let report = message(MARKER, "ORU^R01");
        let messages = [
            report.clone().into_bytes(),
            message(&MARKER.to_lowercase(), "ORU^R01").into_bytes(),
            message(MARKER, MARKER).into_bytes(),
            format!("{MARKER}|{MARKER}\r").into_bytes(),
            format!("MSH|^~\\&|A\rMSA|{MARKER}|1\r").into_bytes(),
            utf_16_of(&report, u16::to_le_bytes),
            utf_16_of(&report, u16::to_be_bytes),
        ];
        let frames = messages.map(|text| frame(&text)).concat();
        // Bytes outside of frames stop the observer.
        say(
            self.plain[2].port,
            &[&frames, MARKER.as_bytes(), &frames].concat(),
        );
        let mut open = connect(local(self.plain[2].port));
        open.write_all(&frames).expect("it is open");
        open.read_exact(&mut vec![0; frames.len()])
            .expect("the receiver sends all of it back");
        while_open();
        open.shutdown(Shutdown::Write).expect("it is open");
        hear(&mut open);
        say(self.plain[2].port, MARKER.as_bytes());
    }
}

/// A gateway whose log need not be JSON.
struct Running {
    program: Background,
    metrics: u16,
    folder: TempDir,
}

impl Running {
    fn start(site: Site) -> Self {
        let folder = TempDir::new().expect("there is room");
        let metrics = free_port();
        let admin = folder.path().join("admin.sock");
        let site = site
            .gateway("metrics", format!("\"127.0.0.1:{metrics}\""))
            .gateway("admin", format!("{admin:?}"));
        let file = folder.path().join("wardgate.toml");
        site.write(&file);
        // The program ignores this variable; if it ever uses it, this level counts.
        let mut program = Background::start(&site.program(&file).env("RUST_LOG", "trace"));
        program.wait_for_output("ready");
        Self {
            program,
            metrics,
            folder,
        }
    }

    /// All texts of a support bundle. Checks that it has none of the `keys`, even if the log has them.
    fn support_bundle(&self, keys: &[String]) -> String {
        let at = |name: &str| self.folder.path().join(name);
        let log = format!("{}{}", keys.concat(), self.program.output());
        fs::write(at("log"), log).expect("our folder");
        let config = fs::read_to_string(at("wardgate.toml")).expect("our file");
        let config = format!("# web_token = \"{TOKEN}\"\n{config}");
        fs::write(at("wardgate.toml"), config).expect("our folder");
        Program::new(wardgate())
            .args([
                "support-bundle",
                "--config",
                "wardgate.toml",
                "--log",
                "log",
            ])
            .args(["--output", "bundle.tar.gz"])
            .current_dir(self.folder.path())
            .run()
            .expect_success();
        let tar = Program::new("tar").args(["-xzOf", "bundle.tar.gz"]);
        let text = tar.current_dir(self.folder.path()).run().expect_success();
        let text = text.text();
        // Each part is there.
        for words in [
            "wardgate.toml: good",
            "\"generation\":0",
            "wardgate_build_info",
            "association",
            "names         dns:",
            "VERSION_CODENAME",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
        let lines = keys.iter().flat_map(|key| key.lines());
        let secrets = lines.filter(|line| !line.starts_with("-----"));
        for secret in secrets.chain([TOKEN]) {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
        text
    }

    fn metrics(&self) -> String {
        http::get(local(self.metrics), "/metrics").text()
    }

    fn page(&self) -> String {
        http::get(local(self.metrics), "/").text()
    }

    fn status(&self) -> String {
        let socket = self.folder.path().join("admin.sock");
        let program = Program::new(wardgate()).args(["status", "--json", "--socket"]);
        program.arg(socket).run().expect_success().text()
    }

    /// Checks what the page and the status show of an open conversation: its types of messages, and no name.
    fn look(&self) {
        for (place, text) in [
            ("the web page", &Self::page as &dyn Fn(&Self) -> String),
            ("the status", &Self::status),
        ] {
            // What a page shows is up to a second old.
            let text = until(place, DEADLINE, || {
                Some(text(self)).filter(|text| text.contains("ORU^R01"))
            });
            assert_clean(place, text.as_bytes());
        }
    }

    /// The log, after all connections have been logged.
    fn stop(self, count: usize) -> String {
        let connections = || self.program.output().matches("sealed_bytes").count();
        until("all connections are told", DEADLINE, || {
            (connections() >= count).then_some(())
        });
        self.program.stop()
    }
}

/// Sends the bytes, and waits for the end.
fn say(port: u16, bytes: &[u8]) {
    let mut stream = connect(local(port));
    // The connection may be reset before all bytes are sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    hear(&mut stream);
}

fn assert_clean(place: &str, bytes: &[u8]) {
    let shown = [", ", ""].map(|between| {
        let numbers = MARKER.bytes().take(6).map(|byte| byte.to_string());
        numbers.collect::<Vec<_>>().join(between).into_bytes()
    });
    let hexadecimal: String = MARKER.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [&utf_8()[..], &utf_16(), &shown, &[hexadecimal.into_bytes()]].concat();
    let text = String::from_utf8_lossy(bytes);
    assert!(!holds_one_of(bytes, &forms), "in {place}:\n{text}");
}

/// Whether the bytes contain one of these, in any case of letters.
fn holds_one_of(bytes: &[u8], forms: &[Vec<u8>]) -> bool {
    let bytes = bytes.to_ascii_lowercase();
    let has = |form: &Vec<u8>| {
        let form = form.to_ascii_lowercase();
        bytes.windows(form.len()).any(|window| window == form)
    };
    forms.iter().any(has)
}

fn utf_8() -> [Vec<u8>; 1] {
    [MARKER.into()]
}

fn utf_16() -> [Vec<u8>; 2] {
    [u16::to_le_bytes, u16::to_be_bytes].map(|bytes| utf_16_of(MARKER, bytes))
}

fn utf_16_of(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}
