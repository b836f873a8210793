//! The web page in a real browser against real processes: what it shows, that it lives, that it can be used without a mouse,
//! on a phone and by those who do not see it, and that what tasks say stays text. Debian's package `chromium` brings the
//! browser; without it these tests say so and pass.

mod browser;
#[path = "../support/mod.rs"]
mod support;

use browser::{Browser, chromium};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use support::{Process, image, micro};
use tempfile::TempDir;

/// What must hold of every view, asked from inside the page.
const CHECKS: &str = include_str!("checks.js");
/// Width, height, whether dark, and what the screenshots are called.
const SCREENS: [(u32, u32, bool, &str); 3] =
    [(1280, 900, false, "light"), (1280, 900, true, "dark"), (360, 740, false, "phone")];
/// Roles of the accessibility tree that somebody can act on, and must therefore have names.
const INTERACTIVE: [&str; 8] =
    ["button", "link", "textbox", "searchbox", "combobox", "checkbox", "DisclosureTriangle", "tab"];
/// What a task may be called and say.
const HOSTILE: &str = "<img src=x onerror=window.taken=1>";

/// Master, gateway and nodes on UDP.
struct Cluster {
    dir: TempDir,
    udp: SocketAddr,
    master: Process,
    gateway: Option<Process>,
    nodes: Vec<Process>,
    address: SocketAddr,
}

impl Cluster {
    fn start(nodes: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = Process::start_with("master --listen 127.0.0.1:0 --ping-interval 1");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut cluster = Self { dir, udp, master, gateway: None, nodes: Vec::new(), address };
        cluster.start_gateway("");
        (1..=nodes).for_each(|number| cluster.start_node(number));
        cluster
    }

    fn start_gateway(&mut self, more: &str) {
        let state = self.dir.path().join("gateway");
        let master = self.master.address.unwrap();
        self.gateway = Some(Process::start_with(&format!(
            "gateway --master {master} --listen {} --udp {} --insecure --poll-mains 1 --state {} {more}",
            self.address,
            self.udp,
            state.display()
        )));
    }

    fn start_node(&mut self, number: u8) {
        let state = self.dir.path().join(format!("node{number}"));
        let power = if number == 2 { ",battery=15" } else { "" };
        self.nodes.push(Process::start_with(&format!(
            "node --gateway {} --insecure --eui64 02000000000000a{number} --state {} \
             --board test{number},cpu=1,mem=128K,flash=256K,sensors=1,leds=1{power} --block-szx 6",
            self.udp,
            state.display()
        )));
    }

    /// `micro` against this master, to its end.
    fn micro(&self, args: &[&str]) -> String {
        let output = micro().args(args).env("MICRO_MASTER", self.master()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn master(&self) -> String {
        self.master.address.unwrap().to_string()
    }

    fn page(&self) -> String {
        format!("http://{}/page/", self.address)
    }
}

/// A browser, or none with the reason said.
fn browser() -> Option<(PathBuf, Browser)> {
    match chromium() {
        Some(path) => {
            let browser = Browser::start(&path);
            Some((path, browser))
        }
        None => {
            println!("SKIPPED: the page in a browser: no chromium (apt install chromium)");
            None
        }
    }
}

/// All that must hold of the view that is shown.
fn check(browser: &mut Browser, what: &str, own: &str) {
    let complaints = browser.evaluate(CHECKS);
    assert_eq!(complaints, serde_json::json!([]), "{what}");
    for node in browser.accessible() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let name = node["name"]["value"].as_str().unwrap_or_default();
        assert!(
            !INTERACTIVE.contains(&role) || !name.trim().is_empty(),
            "{what}: a {role} without a name: {node}"
        );
    }
    let complaints = browser.complaints(own);
    assert!(complaints.is_empty(), "{what}: {complaints:#?}");
}

/// Opens views one after the other on each kind of screen.
fn look(browser: &mut Browser, page: &str, name: &str, views: &[(&str, &str)]) {
    let own = page.trim_end_matches("page/");
    for (width, height, dark, screen) in SCREENS {
        browser.screen(width, height, dark);
        for (view, text) in views {
            browser.open(&format!("{page}{view}"));
            browser.reads(text);
            browser.until("the stream", "document.getElementById('link').innerText.includes('Live')");
            let what = view.trim_start_matches("#/").split('/').next().unwrap_or_default();
            browser.screenshot(&format!("{name}-{what}-{screen}"));
            check(browser, &format!("{view} on {screen}"), own);
        }
    }
}

fn framework_of(cluster: &Cluster, task: &str) -> String {
    let tasks: serde_json::Value = serde_json::from_str(&cluster.micro(&["tasks", "--json"])).unwrap();
    let found = tasks.as_array().unwrap().iter().find(|known| known["id"] == task).unwrap();
    found["framework_id"].as_str().unwrap().to_owned()
}

#[test]
fn every_view_of_a_gateway_can_be_read_by_everybody() {
    let Some((_, mut browser)) = browser() else { return };
    let cluster = Cluster::start(2);
    cluster.micro(&["run", &image("hello"), "--name", "greeter", "--", "there"]);
    cluster.micro(&["run", &image("spin"), "--name", "whirl", "--cpus", "0.25", "--detach"]);
    let task = format!("#/task/{}/whirl", framework_of(&cluster, "whirl"));
    look(
        &mut browser,
        &cluster.page(),
        "gateway",
        &[
            ("#/fleet", "02000000000000a2"),
            ("#/node/02000000000000a1", "Resources by tenant"),
            ("#/tasks", "whirl"),
            (&task, "running"),
            ("#/images", "hello.wasm"),
            ("#/security", "Insecure mode"),
            ("#/events", "TASK_FINISHED"),
            ("#/nothing", "no view of that name"),
        ],
    );
}

#[test]
fn every_view_of_a_master_can_be_read_by_everybody() {
    let Some((_, mut browser)) = browser() else { return };
    let cluster = Cluster::start(1);
    cluster.micro(&["run", &image("hello"), "--name", "greeter", "--", "there"]);
    cluster.micro(&["run", &image("spin"), "--name", "whirl", "--cpus", "0.25", "--detach"]);
    cluster.micro(&["job", "run", &image("spin"), "--id", "giant", "--cpus", "64"]);
    let agents =
        ureq::get(format!("http://{}/slaves", cluster.master())).call().unwrap().body_mut().read_to_string();
    let agents: serde_json::Value = serde_json::from_str(&agents.unwrap()).unwrap();
    let agent = format!("#/agent/{}", agents["slaves"][0]["id"].as_str().unwrap());
    let task = format!("#/task/{}/whirl", framework_of(&cluster, "whirl"));
    look(
        &mut browser,
        &format!("http://{}/page/", cluster.master()),
        "master",
        &[
            ("#/overview", "Roles"),
            ("#/agents", "02000000000000a1"),
            (&agent, "Identity"),
            ("#/frameworks", "micro"),
            ("#/tasks", "whirl"),
            (&task, "States"),
            ("#/jobs", "giant"),
            ("#/job/giant", "fail cpus"),
            ("#/events", "whirl"),
        ],
    );
}

#[test]
fn the_page_lives_without_being_loaded_again() {
    let Some((_, mut browser)) = browser() else { return };
    let mut cluster = Cluster::start(1);
    browser.screen(1280, 900, false);
    browser.open(&format!("{}#/fleet", cluster.page()));
    browser.reads("02000000000000a1");
    browser.evaluate("window.sameDocument = true");

    // A node comes, a task runs: both appear by themselves.
    cluster.start_node(2);
    browser.reads("02000000000000a2");
    cluster.micro(&["run", &image("hello"), "--name", "greeter", "--", HOSTILE]);
    browser.evaluate("location.hash = '#/events'");
    browser.reads("greeter");
    browser.evaluate(
        "[...document.querySelectorAll('a')].find((link) => link.textContent.includes('greeter')).click()",
    );
    browser.reads(&format!("arg {HOSTILE}"));
    browser.until(
        "the task's states in their order",
        "/starting[^]*running[^]*finished/.test(document.body.innerText)",
    );

    browser.evaluate("location.hash = '#/fleet'");
    browser.reads("02000000000000a2");
    // The gateway goes: what is shown is said to be old. It comes back: the page too.
    cluster.gateway.take().unwrap().kill();
    browser.reads("Out of date");
    browser.until(
        "the announcement",
        "document.getElementById('announcer').textContent.includes('connection is lost')",
    );
    cluster.start_gateway("");
    browser.until(
        "the page to be back",
        "!document.body.innerText.includes('Out of date') && document.body.innerText.includes('02000000000000a2')",
    );
    assert_eq!(browser.evaluate("window.sameDocument"), true);
    assert!(browser.evaluate("window.taken").is_null(), "what a task says was run");
}

#[test]
fn hostile_names_stay_text() {
    let Some((_, mut browser)) = browser() else { return };
    let cluster = Cluster::start(1);
    let name = format!("{HOSTILE}\u{202e}");
    cluster.micro(&["run", &image("spin"), "--name", &name, "--detach"]);
    let page = cluster.page();
    for (page, view) in [(page.as_str(), "#/tasks"), (&page, "#/node/02000000000000a1"), (&page, "#/events")]
    {
        browser.open(&format!("{page}{view}"));
        browser.reads(HOSTILE);
        browser.reads("U+202E");
    }
    browser.open(&format!("http://{}/page/#/tasks", cluster.master()));
    browser.reads(HOSTILE);
    assert!(browser.evaluate("window.taken").is_null());
    assert_eq!(browser.evaluate("document.querySelectorAll('main img').length"), 0);
}

#[test]
fn nodes_are_sorted_and_found_with_the_keyboard_alone() {
    let Some((_, mut browser)) = browser() else { return };
    let cluster = Cluster::start(2);
    browser.screen(1280, 900, false);
    browser.open(&format!("{}#/fleet", cluster.page()));
    browser.reads("02000000000000a2");

    // The first stop skips what is above.
    browser.press("Tab");
    assert_eq!(browser.evaluate("document.activeElement.id"), "skip");
    browser.press("Enter");
    assert_eq!(browser.evaluate("document.activeElement.id"), "main");

    let reach = |browser: &mut Browser, what: &str, script: &str| {
        for _ in 0..60 {
            if browser.evaluate(&format!("Boolean({script})")) == true {
                return;
            }
            browser.press("Tab");
        }
        panic!("the keyboard does not come to {what}");
    };
    reach(&mut browser, "the search", "document.activeElement.labels?.[0]?.textContent.includes('Find')");
    browser.types("a2");
    browser.until(
        "the filter",
        "!document.querySelector('table:last-of-type').innerText.includes('02000000000000a1')",
    );
    browser.until("the filter in the address", "location.hash.includes('q=a2')");
    browser
        .until("what was found said", "document.getElementById('announcer').textContent.includes('1 found')");
    reach(
        &mut browser,
        "the order of tasks",
        "document.activeElement.matches('th button') && document.activeElement.textContent.includes('Tasks')",
    );
    browser.press("Enter");
    browser.until("the order told", "[...document.querySelectorAll('th[aria-sort]')].some((head) => head.textContent.includes('Tasks') && head.getAttribute('aria-sort') !== 'none')");

    // A row leads to its node, whose heading has the focus then.
    reach(&mut browser, "the node", "document.activeElement.matches('a[href*=\"node/02000000000000a2\"]')");
    browser.press("Enter");
    browser.reads("Node 02000000000000a2");
    browser.until("the focus on the heading", "document.activeElement.localName === 'h1'");
}

#[test]
fn a_token_is_asked_for_and_kept_out_of_the_address() {
    let Some((chromium, mut browser)) = browser() else { return };
    let mut cluster = Cluster::start(1);
    cluster.gateway.take().unwrap().kill();
    let file = cluster.dir.path().join("token");
    cluster.start_gateway(&format!("--token-file {}", file.display()));
    let token = token_in(&file);
    browser.screen(1280, 900, false);
    browser.open(&format!("{}#/fleet", cluster.page()));
    browser.reads("This page needs a token");
    browser.screenshot("token");
    assert_eq!(browser.evaluate(CHECKS), serde_json::json!([]), "the form");
    browser.types("not-the-token-at-all-but-long-enough-to-be-one");
    browser.press("Enter");
    browser.reads("does not take this token");
    browser.types(&token);
    browser.press("Enter");
    browser.reads("02000000000000a1");

    // With the address that the gateway printed, nothing is asked.
    let mut other = Browser::start(&chromium);
    other.open(&format!("{}#token={token}", cluster.page()));
    other.reads("02000000000000a1");
    assert_eq!(other.evaluate(&format!("location.href.includes('{token}')")), false);
}

fn token_in(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}
