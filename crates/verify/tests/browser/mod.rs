//! Chromium without a window, driven over the pipe of its debugging protocol: it opens pages as a reader does.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything that the browser does may take.
const WAIT: Duration = Duration::from_secs(120);

/// Whether tests that need a browser may be passed over: outside continuous integration, and where that found out that the
/// system has none.
pub fn may_lack() -> bool {
    std::env::var_os("CI").is_none()
        || std::env::var("TACIT_LACKS").is_ok_and(|named| named.split(' ').any(|word| word == "browser"))
}

/// Whether there is a browser.
pub fn at_hand() -> bool {
    let found =
        Command::new("chromium").arg("--version").stderr(Stdio::null()).output().is_ok_and(|o| o.status.success());
    if !found {
        assert!(may_lack(), "chromium is not installed");
        eprintln!("*** chromium is not installed: the page was not opened in a browser ***");
    }
    found
}

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// Everything that the browser told without being asked.
    pub events: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser with an empty profile and opens a file in it.
    pub fn open(page: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        // The protocol's pipe is the descriptors 3 and 4, which a shell opens.
        let script = "to=$1 from=$2; shift 2; exec chromium \"$@\" 3<\"$to\" 4>\"$from\"";
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&to, &from])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--lang=en", "--remote-debugging-pipe", &profile, "about:blank"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = File::options().write(true).open(to).unwrap();
        let messages = BufReader::new(File::open(from).unwrap()).split(0);
        let (told, from) = channel();
        std::thread::spawn(move || {
            messages.map_while(Result::ok).try_for_each(|m| told.send(serde_json::from_slice(&m).unwrap()))
        });
        let mut browser = Self { child, to, from, next: 0, session: None, events: Vec::new(), _folder: folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        ["Page.enable", "Runtime.enable", "Network.enable", "Log.enable"]
            .iter()
            .for_each(|m| _ = browser.call(m, json!({})));
        browser.navigate(page);
        browser
    }

    /// Opens another file.
    pub fn navigate(&mut self, page: &Path) {
        let url = format!("file://{}", page.display());
        let done = self.call("Page.navigate", json!({"url": url}));
        assert!(done["errorText"].is_null(), "{done}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// Asks the browser and waits for its answer.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(&[message.to_string().as_bytes(), &[0]].concat()).unwrap();
        loop {
            let told =
                self.from.recv_timeout(WAIT).unwrap_or_else(|e| panic!("{method}: the browser says nothing: {e}"));
            if told["id"] == json!(self.next) {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
            self.events.push(told);
        }
    }

    /// The value of an expression.
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let done = self.call("Runtime.evaluate", params);
        assert!(done["exceptionDetails"].is_null(), "{expression}: {done}");
        done["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let begun = Instant::now();
        while self.eval(expression) != json!(true) {
            assert!(begun.elapsed() < WAIT, "never: {expression}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Chooses a file in a field, as a reader does with the browser's own dialogue.
    #[allow(dead_code, reason = "one of the tests chooses")]
    pub fn choose(&mut self, field: &str, file: &Path) {
        let root = self.call("DOM.getDocument", json!({}))["root"]["nodeId"].clone();
        let node = self.call("DOM.querySelector", json!({"nodeId": root, "selector": field}))["nodeId"].clone();
        self.call("DOM.setFileInputFiles", json!({"nodeId": node, "files": [file]}));
    }

    /// Drops a file on the page.
    #[allow(dead_code, reason = "one of the tests drops")]
    pub fn drop_file(&mut self, file: &Path) {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({"items": [], "files": [file], "dragOperationsMask": 1});
            self.call("Input.dispatchDragEvent", json!({"type": kind, "x": 60, "y": 200, "data": data}));
        }
    }

    /// The page as a PDF.
    #[allow(dead_code, reason = "one of the tests prints")]
    pub fn pdf(&mut self) -> Vec<u8> {
        use base64::Engine as _;
        let done = self.call("Page.printToPDF", json!({"printBackground": true, "preferCSSPageSize": true}));
        base64::engine::general_purpose::STANDARD.decode(done["data"].as_str().unwrap()).unwrap()
    }

    /// Addresses that were asked for since the start.
    #[allow(dead_code, reason = "one of the tests asks")]
    pub fn requested(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        asked.map(|e| e["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Errors that the page's own script or policy reported.
    pub fn complaints(&self) -> Vec<&Value> {
        let of = |e: &&Value| {
            e["method"] == "Runtime.exceptionThrown"
                || (e["method"] == "Log.entryAdded" && e["params"]["entry"]["level"] == "error")
        };
        self.events.iter().filter(of).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own helpers end with it.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
