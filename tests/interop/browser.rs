//! Chromium without a window, driven by the DevTools protocol over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use wardgate_tests::DEADLINE;

/// Chromium with one page.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    /// Errors of the console, exceptions, and violations of the page's policy.
    pub(crate) errors: Vec<String>,
    /// The addresses of all requests.
    pub(crate) requests: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty page.
    pub(crate) fn start() -> Self {
        let profile = TempDir::new().expect("the machine has a folder for temporary files");
        // The browser reads commands from descriptor 3 and writes answers to 4. The tests run as root, for which
        // its sandbox is not available; the page is the gateway's own.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-extensions \
                      --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
                      --disable-dev-shm-usage --remote-debugging-pipe --user-data-dir=\"$1\" about:blank \
                      3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let commands = child.stdin.take().expect("it is piped");
        let messages = receive(child.stdout.take().expect("it is piped"));
        let mut browser = Self {
            child,
            commands,
            messages,
            session: String::new(),
            last: 0,
            errors: Vec::new(),
            requests: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = &target["targetId"];
        let attach = json!({"targetId": target, "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.until(
            "the page is loaded",
            DEADLINE,
            "document.readyState === 'complete'",
        );
    }

    /// The width and height of the window, and the colour scheme.
    pub(crate) fn window(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", feature);
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let arguments = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", arguments);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// The text of the elements that a selector finds, as a reader sees it.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let find = format!(
            "[...document.querySelectorAll({selector:?})].map(one => one.innerText).join('\\n')"
        );
        self.value(&find).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true in the page, and returns how long it took.
    pub(crate) fn until(&mut self, what: &str, within: Duration, expression: &str) -> Duration {
        let begun = Instant::now();
        loop {
            if self.value(expression) == json!(true) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < within,
                "not within {within:?}: {what}; the page: {}",
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A picture of the page, from its top to this height.
    pub(crate) fn picture(&mut self) -> String {
        let picture = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": false}),
        );
        picture["data"].as_str().expect("base64").to_owned()
    }

    fn call(&mut self, method: &str, arguments: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": arguments});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("the browser runs");
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut message = self
                .messages
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == json!(id) {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let details = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = details["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            Some("Runtime.exceptionThrown") => self.errors.push(details.to_string()),
            Some("Log.entryAdded") if details["entry"]["level"] == json!("error") => {
                self.errors.push(details.to_string());
            }
            Some("Runtime.consoleAPICalled") => self.errors.push(details.to_string()),
            _ => {}
        }
    }
}

// Messages end with a zero byte.
fn receive(pipe: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for message in BufReader::new(pipe).split(0) {
            let Ok(message) = message else { return };
            let Ok(message) = serde_json::from_slice(&message) else {
                return;
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
