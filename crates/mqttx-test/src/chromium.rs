//! A real browser without a window, driven by the DevTools protocol over its pipe.

use crate::TempDir;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Where the tests look for the program; without it those that need a browser are skipped.
const VARIABLE: &str = "MQTTX_TEST_CHROMIUM";
/// How long the browser may take for an answer, or a page to become as it should.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running Chromium with one page, ended on drop.
///
/// ```no_run
/// # async fn test() {
/// use mqttx_test::Chromium;
///
/// let Some(mut page) = Chromium::start().await else { return };
/// page.open("http://127.0.0.1:9464/").await;
/// page.until("document.title !== ''").await;
/// assert!(page.problems().is_empty());
/// # }
/// ```
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    commands: ChildStdin,
    messages: mpsc::UnboundedReceiver<Value>,
    directory: TempDir,
    session: String,
    next: u64,
    problems: Vec<String>,
}

impl Chromium {
    /// Starts it with an empty profile; `None`, and a line that says so, when the environment names no browser.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            // Written past the capture of the test harness: a skipped test must not look like a run.
            let _ = writeln!(std::io::stderr(), "skipped: {VARIABLE} does not name a chromium");
            return None;
        };
        let directory = TempDir::new("chromium");
        let mut child = launch(Path::new(&program), &directory);
        let commands = child.stdin.take().expect("a pipe");
        let answers = child.stdout.take().expect("a pipe");
        let (sender, messages) = mpsc::unbounded_channel();
        std::thread::spawn(move || read(answers, &sender));
        let (session, problems) = (String::new(), Vec::new());
        let mut browser = Self { child, commands, messages, directory, session, next: 0, problems };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({})).await;
        }
        Some(browser)
    }

    /// Goes to that address; the page may still load.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn open(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert_eq!(gone["errorText"], Value::Null, "{url}: {gone}");
    }

    /// The value of a JavaScript expression; promises are awaited.
    ///
    /// # Panics
    /// When it throws.
    pub async fn value(&mut self, expression: &str) -> Value {
        let command =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", command).await;
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}\n{thrown}\n{:#?}\n{}", self.problems, self.log());
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; what it throws counts as false.
    ///
    /// # Panics
    /// When it never is.
    pub async fn until(&mut self, condition: &str) {
        let patience = PATIENCE.as_millis() / 2;
        let text = json!(condition);
        // The page itself looks, after each of its changes.
        let wait = format!(
            "new Promise((done, fail) => {{
               const holds = () => {{ try {{ return {condition}; }} catch {{ return false; }} }};
               if (holds()) return done(true);
               const look = () => {{ if (holds()) {{ watch.disconnect(); clearTimeout(end); done(true); }} }};
               const watch = new MutationObserver(look);
               watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
               const end = setTimeout(
                 () => fail(new Error('never: ' + {text} + '\\n' + document.body.innerText)), {patience});
             }})"
        );
        self.value(&wait).await;
    }

    /// Clicks into the middle of the element, as a hand does.
    ///
    /// # Panics
    /// When there is none, or something else lies over it.
    pub async fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        let place = self
            .value(&format!(
                "(() => {{
                   const node = document.querySelector({selector});
                   node.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                   const box = node.getBoundingClientRect();
                   const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                   const hit = document.elementFromPoint(x, y);
                   if (!node.contains(hit)) throw new Error({selector} + ' is covered by ' + hit?.outerHTML);
                   return [x, y];
                 }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Presses a key: a character, or a name such as `Enter`.
    pub async fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowDown" => 40,
            "End" => 35,
            _ => 0,
        };
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if key.chars().count() == 1 {
            event["text"] = key.into();
        } else if key == "Enter" {
            event["text"] = "\r".into();
        }
        self.call("Input.dispatchKeyEvent", event).await;
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key })).await;
    }

    /// Types into what has the focus.
    pub async fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// The size of the window in CSS pixels; a `phone` has a touch screen.
    pub async fn resize(&mut self, width: u32, height: u32, phone: bool) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the system prefers: `light` or `dark`.
    pub async fn prefer(&mut self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": feature })).await;
    }

    /// Writes what is seen to a file, as PNG.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub async fn picture(&mut self, path: &Path) {
        use base64::Engine as _;
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let data = taken["data"].as_str().expect("a picture");
        let bytes = base64::prelude::BASE64_STANDARD.decode(data).expect("Base64");
        std::fs::write(path, bytes).expect("a file");
    }

    /// Errors and warnings that the console has, and exceptions that nobody caught.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The result of a command of the protocol.
    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut command = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        self.send(&command).unwrap_or_else(|error| panic!("{method}: {error}\n{}", self.log()));
        loop {
            let message = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
            let message = message.unwrap_or_else(|_| panic!("{method}: no answer\n{}", self.log()));
            let message =
                message.unwrap_or_else(|| panic!("{method}: chromium ended\n{}", self.log()));
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.problems.extend(problem(&message));
        }
    }

    fn send(&mut self, command: &Value) -> std::io::Result<()> {
        self.commands.write_all(format!("{command}\0").as_bytes())
    }
}

/// The protocol speaks over the descriptors 3 and 4, which a shell makes of standard input and output.
fn launch(program: &Path, directory: &TempDir) -> Child {
    let log = File::create(directory.path().join("log")).expect("a log file");
    Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null"])
        .arg(program)
        .args(["--remote-debugging-pipe", "--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// Hands on messages until the browser ends; each ends with a zero byte.
fn read(answers: ChildStdout, messages: &mpsc::UnboundedSender<Value>) {
    for message in BufReader::new(answers).split(0) {
        let value = message.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(value) = value else { return };
        if messages.send(value).is_err() {
            return;
        }
    }
}

/// What is wrong with the page, if the message tells of it.
fn problem(message: &Value) -> Option<String> {
    let facts = &message["params"];
    let is_bad = |level: &Value| matches!(level.as_str(), Some("error" | "warning"));
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(facts["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if is_bad(&facts["type"]) => Some(facts["args"].to_string()),
        "Log.entryAdded" if is_bad(&facts["entry"]["level"]) => Some(facts["entry"].to_string()),
        _ => None,
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("chromium: {:#?}", self.problems);
        }
        // Asked to, it ends its helpers, too.
        let _ = self.send(&json!({ "id": 0, "method": "Browser.close" }));
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
