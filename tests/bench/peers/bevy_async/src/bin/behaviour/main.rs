//! What the plugins do when things go wrong, and what an access to the world costs: one line of JSON for each
//! plugin and case. A case runs in a process of its own, for some end it: `app` says how.
//! arguments: none, all; a plugin; a plugin and a case.
mod cases;
mod peer;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PLUGINS: [(&str, fn(&str)); 5] = [
    ("bevy-tokio-tasks 0.17.0", cases::run::<peer::TokioTasks>),
    ("bevy-async-ecs 0.9.0", cases::run::<peer::AsyncEcs>),
    ("bevy_mod_async 0.11.0", cases::run::<peer::ModAsync>),
    ("bevy_malek_async 0.2.1", cases::run::<peer::Malek>),
    ("bevy_defer 0.15.1", cases::run::<peer::Defer>),
];
/// A case takes less than a second, unless the main thread waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// JSON text of what a process said, without the colours of its log.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => while chars.next().is_some_and(|c| c != 'm') {},
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out + "\""
}

/// How it ended: by itself, by a panic, or not at all.
fn end_of(child: &mut std::process::Child) -> &'static str {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match child.try_wait().expect("it is our child") {
            Some(status) if status.success() => return "goes on",
            Some(_) => return "ends",
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    "hangs"
}

fn observe(plugin: &str, case: &str) {
    let myself = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(myself)
        .args([plugin, case, "alone"])
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let app = end_of(&mut child);
    let (mut seen, mut said) = (String::new(), String::new());
    child.stdout.take().expect("it was piped").read_to_string(&mut seen).expect("it is UTF-8");
    child.stderr.take().expect("it was piped").read_to_string(&mut said).expect("it is UTF-8");
    let mut line = format!("{{\"plugin\":\"{plugin}\",\"case\":\"{case}\",\"app\":\"{app}\"");
    for member in seen.lines().filter(|line| *line != "\"opened\":true") {
        line += &format!(",{member}");
    }
    // a panic has its message in the line after its place
    let mut log = said.lines().filter(|line| !line.is_empty());
    let first = log.next().unwrap_or("");
    let text = if first.starts_with("thread ") { log.next().unwrap_or("") } else { first };
    println!("{line},\"log\":{}}}", quoted(text));
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let plugins =
        PLUGINS.iter().filter(|p| words.first().is_none_or(|w| p.0.starts_with(w.as_str())));
    for (plugin, run) in plugins {
        match words.get(1) {
            Some(case) if words.len() == 3 => run(case),
            Some(case) => observe(plugin, case),
            None => cases::NAMES.iter().for_each(|case| observe(plugin, case)),
        }
    }
}
