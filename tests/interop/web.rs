//! The web page of a gateway in Chromium.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wardgate_tests::stream::stop_listening;
use wardgate_tests::tier::{Need, ready};
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port, until};

use crate::browser::Browser;
use crate::pair::{A, B};

const TOKEN: &str = "c0ffee00c0ffee00";

/// A certificate and a list of revoked certificates are valid for so long: the browser has seen the other states.
const LIFE: Duration = Duration::from_secs(30);

/// Two sites: A sends to B over three routes, receives over one, and passes one through; the page is that of A.
struct Lab {
    a: Gateway,
    b: Gateway,
    // Where applications of site A connect to.
    archive: SocketAddr,
    link: SocketAddr,
    worklist: SocketAddr,
    // The application behind `worklist`.
    application: TcpListener,
    // The gateway of site B, as A reaches it.
    wan: SocketAddr,
    // The files that run out, as the page names them, and when.
    brief: [String; 2],
    expiry: Instant,
    _folder: TempDir,
    _pki: Pki,
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A target that reads all it gets and answers nothing.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut stream, mut bytes) = (stream, vec![0; 1 << 16]);
                while matches!(stream.read(&mut bytes), Ok(1..)) {}
            });
        }
    });
    address
}

impl Lab {
    fn start() -> Self {
        let pki = Pki::new();
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let token = folder.path().join("web.token");
        fs::write(&token, format!("{TOKEN}\n")).expect("the folder is ours");
        fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("the file is ours");
        let (wan, link_wan, list_wan) = (local(), local(), local());
        let (archive, link, target, worklist) = (local(), local(), sink(), local());
        let application = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let served = application.local_addr().expect("it is bound");
        let from_a = [format!("dns:{A}")];
        let b = Site::new(&pki, B)
            .terminate(wan, target, &from_a)
            .protocol("dicom")
            .name("archive")
            .terminate(link_wan, target, &from_a)
            .protocol("tcp")
            .name("link")
            .start();
        let list = pki.brief_crl("web.crl", LIFE);
        let brief = pki.brief_leaf(A, LIFE);
        // X.509 has whole seconds, so both run out less than a second before.
        let expiry = Instant::now() + LIFE;
        let to_b = [format!("dns:{B}")];
        let probe =
            "{ probe = \"connect\", interval = \"1s\", timeout = \"1s\", rise = 1, fall = 1 }";
        let a = Site::new(&pki, A)
            .peer_with_crls("region", &["dns:gw.c.example"], &pki.trust(), &[&list])
            .gateway("web", "true")
            .gateway("web_token", format!("{:?}", token.display().to_string()))
            .originate(archive, wan, &to_b)
            .protocol("dicom")
            .set("health", probe)
            .name("ct-to-archive")
            .originate(link, link_wan, &to_b)
            .protocol("tcp")
            .set("bandwidth", "\"8Mbit/s\"")
            .name("backup")
            .originate(local(), list_wan, &["region"])
            .protocol("tcp")
            .name("reports")
            .terminate(local(), target, &to_b)
            .route_identity(&brief)
            .protocol("tcp")
            .name("priors")
            .passthrough(worklist, served)
            .set("health", probe)
            .name("worklist")
            .start();
        Self {
            a,
            b,
            archive,
            link,
            worklist,
            application,
            wan,
            brief: [
                format!(
                    "certificate {:?}: \"CN={A}\" expired on ",
                    shown(&brief.certificate)
                ),
                format!(
                    "peer \"region\": crl {:?}: the list of \"CN=wardgate test authority\" expired on ",
                    shown(&list)
                ),
            ],
            expiry,
            _folder: folder,
            _pki: pki,
        }
    }

    fn url(&self) -> String {
        format!("http://reader:{TOKEN}@{}/", self.a.metrics_address())
    }

    /// The page without a browser.
    fn plain(&self) -> String {
        let address = self.a.metrics_address();
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request =
            format!("GET / HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

/// An A-ASSOCIATE-RQ without presentation contexts (PS3.8 section 9.3.2).
fn request(calling: &str, called: &str) -> Vec<u8> {
    let title = |title: &str| format!("{title:16}").into_bytes();
    let context = b"1.2.840.10008.3.1.1.1";
    let mut item = vec![0x10, 0, 0, context.len() as u8];
    item.extend_from_slice(context);
    let mut body = vec![0, 1, 0, 0];
    body.extend(title(called));
    body.extend(title(calling));
    body.extend([0; 32]);
    body.extend(item);
    let mut pdu = vec![1, 0];
    pdu.extend(
        u32::try_from(body.len())
            .expect("it is short")
            .to_be_bytes(),
    );
    pdu.extend(body);
    pdu
}

/// The chip of a route's card.
fn card(route: &str, word: &str) -> String {
    format!(
        "[...document.querySelectorAll('article')].some(card => card.querySelector('h3').innerText.startsWith({route:?}) \
         && card.querySelector('h3 .chip').innerText.trim() === {word:?})"
    )
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

fn state_has(text: &str) -> String {
    format!("document.getElementById('state').innerText.includes({text:?})")
}

// Goal: green, amber and red, each with its reason, appear soon by live updates, in a browser that reports no
// error and asks nobody else. Method: one browser; a full link, an application and a peer's gateway that are killed,
// and a certificate and a list that run out. The name of an application is code, which must be shown as text.
#[test]
fn the_web_page_shows_green_amber_and_red_with_the_reason() {
    if !ready("interop", &[Need::Program("chromium")]) {
        return;
    }
    // The browser may take long to start, so the certificate's life begins after that.
    let mut browser = Browser::start();
    let lab = Lab::start();
    browser.window(1100, 1000, "light");
    browser.open(&lab.url());
    let is_live = "document.getElementById('live').className === 'live'";
    browser.until("live updates", DEADLINE, is_live);
    // Green. The list of the third route expires within a week, so it is amber from the start.
    for route in ["ct-to-archive", "priors", "worklist"] {
        browser.until("green", DEADLINE, &card(route, "works"));
    }
    browser.until(
        "an expiring list",
        DEADLINE,
        &card("reports", "needs attention"),
    );
    assert!(
        browser.text("#state").contains("expire"),
        "{}",
        browser.text("#state")
    );
    let mut association = TcpStream::connect(lab.archive).expect("it listens");
    association
        .write_all(&request("<img src=x>", "ARCHIVE"))
        .expect("it reads");
    browser.until(
        "the association",
        DEADLINE,
        "document.getElementById('open').innerText.includes('<img src=x> > ARCHIVE')",
    );
    assert_eq!(
        browser.value("document.querySelectorAll('img, script:not([src])').length"),
        0
    );

    // Amber: the link is full.
    let mut bulk = TcpStream::connect(lab.link).expect("it listens");
    bulk.set_write_timeout(Some(DEADLINE)).expect("a socket");
    let sending = std::thread::spawn(move || while bulk.write_all(&[7; 1 << 16]).is_ok() {});
    // The rate has to be there for a second.
    browser.until("a full link", DEADLINE, &card("backup", "needs attention"));
    browser.until("its reason", DEADLINE, &state_has("the link is full"));
    save(&mut browser, "web-page-amber", 1100, 1000, "light");

    // What the page shows is there without script, and to those who know the token only.
    until("the same page without script", DEADLINE, || {
        let plain = lab.plain();
        for text in ["&lt;img src=x&gt;", "needs attention", "State at"] {
            assert!(plain.contains(text), "{text}: {plain}");
        }
        plain.contains("the link is full").then_some(())
    });

    // A telephone.
    for scheme in ["light", "dark"] {
        browser.window(320, 640, scheme);
        let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]");
        assert_eq!(widths, serde_json::json!([320, 320]));
        save(
            &mut browser,
            &format!("web-page-telephone-{scheme}"),
            320,
            2400,
            scheme,
        );
    }
    browser.window(1100, 1000, "light");

    // Red: an application of this site is gone, and the next client tries at once.
    let Lab { a, b, .. } = lab;
    let served = lab.application.local_addr().expect("it is bound");
    stop_listening(lab.application);
    let _client = TcpStream::connect(lab.worklist);
    let reason = [
        format!("target {served} does not work since 20"),
        "check the application at this address, and the network to it".to_owned(),
    ];
    let is_red = all(&card("worklist", "no traffic"), &reason);
    browser.until("a target that is gone", DEADLINE, &is_red);

    // Red: the other site is gone.
    b.process().signal(rustix::process::Signal::KILL);
    drop(association);
    // An application tries at once.
    let _ = TcpStream::connect(lab.archive)
        .and_then(|mut client| client.write_all(&request("CT_1", "ARCHIVE")));
    let reason = [
        format!(
            "the other site's gateway {} does not work since 20",
            lab.wan
        ),
        "check the line to the other site, and the gateway there".to_owned(),
        "the route carries nothing meanwhile".to_owned(),
    ];
    let is_red = all(&card("ct-to-archive", "no traffic"), &reason);
    browser.until("a site that is gone", DEADLINE, &is_red);
    assert!(
        browser.text("#state .summary").contains("no traffic"),
        "{}",
        browser.text("#state")
    );
    save(&mut browser, "web-page-red", 1100, 1800, "light");
    save(&mut browser, "web-page-red-dark", 1100, 1800, "dark");

    // A certificate and a list run out: peers refuse this site, and nobody is accepted with the list.
    std::thread::sleep(lab.expiry.saturating_duration_since(Instant::now()));
    let [certificate, list] = lab.brief;
    let reason = [
        certificate,
        "peers refuse this site; issue a new one".to_owned(),
        list,
        "every peer of that CA is refused; get a current list".to_owned(),
    ];
    let cards = ["priors", "reports"].map(|route| card(route, "no traffic"));
    let is_red = all(&cards.join(" && "), &reason);
    browser.until("both have expired", DEADLINE, &is_red);
    let certificates = browser.text("#certificates");
    let expired = certificates.matches("expired").count();
    assert_eq!(expired, 2, "{certificates}");

    let base = format!("http://{}/", a.metrics_address());
    for url in &browser.requests {
        let own = url.replace(&format!("reader:{TOKEN}@"), "");
        assert!(
            own.starts_with(&base) || url.starts_with("data:") || url == "about:blank",
            "{url}"
        );
    }
    assert!(browser.errors.is_empty(), "{:#?}", browser.errors);
    let cookies = browser.value("document.cookie");
    assert_eq!(cookies, "");

    // The gateway is gone.
    a.process().signal(rustix::process::Signal::KILL);
    browser.until(
        "a page that says so",
        DEADLINE,
        "document.getElementById('live').className === 'stopped'",
    );
    assert!(browser.text("#live").contains("Live updates have stopped"));
    let _ = sending.join();
}

/// An expression, and all of these texts in the first section of the page.
fn all(expression: &str, texts: &[String]) -> String {
    let texts = texts.iter().map(|text| state_has(text));
    let all: Vec<_> = std::iter::once(expression.to_owned())
        .chain(texts)
        .collect();
    all.join(" && ")
}

// Writes a picture into the folder that `WARDGATE_PICTURES` names, for the documents.
fn save(browser: &mut Browser, name: &str, width: u32, height: u32, scheme: &str) {
    let Some(folder) = std::env::var_os("WARDGATE_PICTURES") else {
        return;
    };
    browser.window(width, height, scheme);
    std::thread::sleep(Duration::from_millis(300));
    let picture = browser.picture();
    let path = Path::new(&folder).join(format!("{name}.png.base64"));
    fs::write(path, picture).expect("the folder can be written");
}
