//! The web page: who may see it, and what a client can cost that may or may not.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port, until};

const TOKEN: &str = "0123456789abcdef";
/// Pages with live updates at one time.
const STREAMS: usize = 16;

fn site(pki: &Pki) -> Site {
    let [listen, target] =
        [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    Site::new(pki, "gw.example")
        .passthrough(listen, target)
        .name("through")
        .gateway("web", "true")
}

fn with_token(pki: &Pki, folder: &TempDir) -> Gateway {
    let token = folder.path().join("web.token");
    fs::write(&token, TOKEN).expect("the folder is ours");
    fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("the file is ours");
    let path = format!("{:?}", token.display().to_string());
    site(pki).gateway("web_token", path).start()
}

fn open(gateway: &Gateway, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.metrics_address()).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(head.as_bytes()).expect("it reads");
    stream
}

/// The head and the body of an answer.
fn ask(gateway: &Gateway, head: &str) -> (String, String) {
    let mut answer = Vec::new();
    // A reset after the answer is no failure of the answer.
    let _ = open(gateway, head).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_ascii_lowercase(), body.to_owned())
}

fn request(method: &str, path: &str, host: &str, field: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{field}Connection: close\r\n\r\n")
}

fn status(head: &str) -> u16 {
    let word = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    word.unwrap_or_default()
}

// Goal: nothing of the page reaches a client without the token, whatever it sends, and wrong tokens cannot be tried
// out. Method: each path with tokens that are missing, wrong, long and odd; the answers hold no name of a route.
#[test]
fn the_web_page_is_shown_to_those_who_know_its_token_only() {
    let (pki, folder) = (Pki::new(), TempDir::new().expect("a folder"));
    let gateway = with_token(&pki, &folder);
    let get = |path: &str, field: &str| ask(&gateway, &request("GET", path, "any.example", field));
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    // "wardgate:0123456789abcdef"
    let basic = "Authorization: Basic d2FyZGdhdGU6MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
    for field in [&right, basic] {
        let (head, body) = get("/", field);
        assert_eq!(status(&head), 200, "{head}");
        assert!(
            body.contains("through") && body.contains("</html>"),
            "{body}"
        );
        for part in [
            "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
             connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(part), "{part}: {head}");
        }
        assert!(
            !head.contains("set-cookie") && !head.contains("access-control"),
            "{head}"
        );
    }
    for (path, content_type) in [("/style.css", "text/css"), ("/page.js", "text/javascript")] {
        let (head, _) = get(path, &right);
        assert!(
            status(&head) == 200 && head.contains(content_type),
            "{head}"
        );
    }
    for path in [
        "/",
        "/style.css",
        "/page.js",
        "/events",
        "/?token=0123456789abcdef",
    ] {
        let (head, body) = get(path, "");
        assert_eq!(status(&head), 401, "{path}: {head}");
        assert!(head.contains("www-authenticate: basic"), "{head}");
        assert!(!body.contains("through") && !body.contains('<'), "{body}");
    }
    let head = ask(&gateway, &request("HEAD", "/events", "any.example", &right)).0;
    assert_eq!(status(&head), 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let head = ask(&gateway, &request(method, "/", "any.example", &right)).0;
        assert_eq!(status(&head), 405, "{method}: {head}");
    }
    for path in [
        "/../etc/passwd",
        "/style.css/../../wardgate.toml",
        "/%2e%2e/web.token",
        "//",
        "/page.js%00",
        "/index.html",
    ] {
        let (head, body) = get(path, &right);
        assert!(
            status(&head) >= 400 && !body.contains(TOKEN),
            "{path}: {head}"
        );
    }
    let long = format!("Authorization: Bearer {}\r\n", "x".repeat(6_000));
    let odd = "Authorization: Basic \u{fc}\u{fc}\r\n";
    let wrong = "Authorization: Bearer 0123456789abcdeF\r\n";
    for (number, field) in [
        wrong, &long, odd, wrong, wrong, wrong, wrong, wrong, wrong, wrong,
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(status(&get("/", field).0), 401, "{number}");
    }
    // The tenth was the last: further wrong ones have to wait. The right one passes, because others may share
    // the address.
    assert_eq!(status(&get("/", wrong).0), 429);
    assert_eq!(status(&get("/", &right).0), 200);
    // Other paths are open as before.
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(status(&get(path, "").0), 200, "{path}");
    }
    assert!(
        gateway
            .metrics()
            .contains("wardgate_http_refused_total{reason=\"token\"} 11")
    );
    let lines = gateway.lines();
    let about = lines
        .iter()
        .filter(|line| line.message().contains("wrong token"));
    assert_eq!(about.count(), 1, "{lines:#?}");
    assert!(!gateway.output().contains(TOKEN));
}

// Goal: without a token, no page of another site can read this one through a browser.
#[test]
fn the_web_page_is_not_shown_by_the_name_of_another_host() {
    let pki = Pki::new();
    let gateway = site(&pki).start();
    let address = gateway.metrics_address().to_string();
    for host in [&address, "localhost:1", "[::1]:9464"] {
        let (head, body) = ask(&gateway, &request("GET", "/", host, ""));
        assert_eq!(status(&head), 200, "{host}: {head}");
        assert!(body.contains("through"));
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "",
    ] {
        for path in ["/", "/events", "/page.js"] {
            let (head, body) = ask(&gateway, &request("GET", path, host, ""));
            assert!(matches!(status(&head), 400 | 421), "{host}: {head}");
            assert!(!body.contains("through"), "{body}");
        }
    }
    let absolute = request("GET", "http://evil.example/", &address, "");
    assert_eq!(status(&ask(&gateway, &absolute).0), 421);
    let none = ask(&gateway, "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(status(&none.0), 421);
    // Monitoring programs use names that the gateway does not know.
    assert_eq!(
        status(
            &ask(
                &gateway,
                &request("GET", "/metrics", "gw.other.example", "")
            )
            .0
        ),
        200
    );
    // The page is off unless it is switched on.
    let off = site(&pki).gateway("web", "false").start();
    assert_eq!(
        status(&ask(&off, &request("GET", "/", "localhost", "")).0),
        404
    );
}

// Goal: pages that stay open, and do not read, are bounded and cost the gateway nothing that grows.
#[test]
fn live_updates_are_bounded_and_given_back() {
    let pki = Pki::new();
    let gateway = site(&pki).start();
    let events = request("GET", "/events", "localhost", "").replace("close", "keep-alive");
    let first_line = |stream: &mut TcpStream| {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).expect("an answer");
        String::from_utf8_lossy(&some[..count])
            .lines()
            .next()
            .map(str::to_owned)
            .unwrap_or_default()
    };
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open(&gateway, &events)).collect();
    for stream in &mut streams {
        assert_eq!(first_line(stream), "HTTP/1.1 200 OK");
    }
    let refused = first_line(&mut open(&gateway, &events));
    assert_eq!(refused, "HTTP/1.1 503 Service Unavailable");
    // The page itself, and everything else, is there.
    let (head, _) = ask(&gateway, &request("GET", "/", "localhost", ""));
    assert_eq!(status(&head), 200);
    assert!(
        gateway
            .metrics()
            .contains("wardgate_http_refused_total{reason=\"events\"} 1")
    );
    // Updates come about once a second.
    let stream = &mut streams[0];
    let mut text = String::new();
    until("three updates", DEADLINE, || {
        let mut some = [0; 65_536];
        let count = stream.read(&mut some).expect("an update");
        text += &String::from_utf8_lossy(&some[..count]);
        (text.matches("data: [").count() >= 3).then_some(())
    });
    drop(streams);
    until("free places", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(100));
        (first_line(&mut open(&gateway, &events)) == "HTTP/1.1 200 OK").then_some(())
    });
}

// Goal: a token that cannot be used keeps the page off and the routes open, and `check` names the reason.
#[test]
fn a_web_token_that_others_can_read_keeps_the_page_off_and_the_routes_open() {
    let (pki, folder) = (Pki::new(), TempDir::new().expect("a folder"));
    let gateway = with_token(&pki, &folder);
    // Another token is used after a reload.
    let file = folder.path().join("web.token");
    let with = |token: &str| {
        let field = format!("Authorization: Bearer {token}\r\n");
        status(&ask(&gateway, &request("GET", "/", "localhost", &field)).0)
    };
    fs::write(&file, "fedcba9876543210").expect("the file is ours");
    assert_eq!([with(TOKEN), with("fedcba9876543210")], [200, 401]);
    gateway.command(&["reload"]).run().expect_success();
    assert_eq!([with(TOKEN), with("fedcba9876543210")], [401, 200]);
    // A bad file leaves the token as it was.
    fs::write(&file, "short").expect("the file is ours");
    let reply = gateway.command(&["reload"]).run().expect_success().text();
    assert!(reply.contains("the earlier token stays in use"), "{reply}");
    assert_eq!(with("fedcba9876543210"), 200);
    fs::write(&file, TOKEN).expect("the file is ours");
    let file = gateway.config();
    gateway.stop_and_keep_folder(|| {
        let token = folder.path().join("web.token");
        fs::set_permissions(&token, Permissions::from_mode(0o644)).expect("the file is ours");
        let check = wardgate_tests::Program::new(wardgate_tests::wardgate())
            .args(["check", "--config"])
            .arg(&file)
            .run()
            .expect_failure();
        assert!(
            check.text().contains("web_token") && check.text().contains("chmod 0600"),
            "{}",
            check.text()
        );
    });
    let path = format!(
        "{:?}",
        folder.path().join("web.token").display().to_string()
    );
    let gateway = site(&pki).gateway("web_token", path).start();
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(
        status(&ask(&gateway, &request("GET", "/", "localhost", &right)).0),
        404
    );
    assert_eq!(
        status(&ask(&gateway, &request("GET", "/readyz", "localhost", "")).0),
        200
    );
    assert!(gateway.output().contains("the web page stays off"));
}
