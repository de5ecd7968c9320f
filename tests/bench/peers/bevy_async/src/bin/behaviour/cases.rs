//! The cases, each in a process of its own: what it prints is what was seen, as members of a JSON object.
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bevy_app::{App, TaskPoolPlugin};
use bevy_ecs::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{Access, Peer, Sample};

/// Frames after which nothing more is expected of what was asked for: the slowest plugin answers in the second.
const ENOUGH: usize = 1000;
const NOTHING: &str = "nothing, it still waits";
const ACCESSES: usize = 2000;

/// A device that answers nothing. Tells what it got when the connection has ended, and hangs up when told to.
struct Device {
    port: u16,
    got: Receiver<String>,
    hang_up: Sender<()>,
}

impl Device {
    fn open() -> Device {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let (tell, got) = channel();
        let (hang_up, told) = channel::<()>();
        std::thread::spawn(move || {
            let (mut conn, _) = listener.accept().expect("the task connects");
            let end = conn.try_clone().expect("a socket can be cloned");
            std::thread::spawn(move || {
                if told.recv().is_ok() {
                    let _ = end.shutdown(std::net::Shutdown::Both);
                }
                std::mem::forget(end);
            });
            let mut text = String::new();
            let _ = conn.read_to_string(&mut text);
            let _ = tell.send(text);
        });
        Device { port, got, hang_up }
    }
}

/// What a task leaves behind when it is dropped: all that Rust offers as cleanup, and it cannot wait.
struct Cleanup(Sender<String>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = self.0.send("dropped".into());
    }
}

struct Stage<P: Peer> {
    app: App,
    peer: P,
    access: P::Access,
    entity: Entity,
    say: Sender<String>,
    heard: Receiver<String>,
}

impl<P: Peer> Stage<P> {
    fn open() -> Stage<P> {
        let mut app = App::new();
        app.add_plugins((TaskPoolPlugin::default(), bevy_log::LogPlugin::default()));
        let peer = P::build(&mut app);
        app.finish();
        app.cleanup();
        let access = peer.access(&mut app);
        let entity = app.world_mut().spawn(Sample(0.0)).id();
        let (say, heard) = channel();
        Stage { app, peer, access, entity, say, heard }
    }

    fn frame(&mut self) {
        self.app.update();
        std::thread::sleep(Duration::from_millis(1)); // other threads have their turn
    }

    fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.frame();
        }
    }

    /// Runs frames until a task says something; nothing when it has not within enough of them.
    fn hear(&mut self) -> Option<String> {
        for _ in 0..ENOUGH {
            if let Ok(text) = self.heard.try_recv() {
                return Some(text);
            }
            self.frame();
        }
        None
    }

    fn value(&self) -> f64 {
        self.app.world().get::<Sample>(self.entity).map_or(f64::NAN, |s| s.0)
    }
}

fn show(name: &str, value: impl std::fmt::Display) {
    println!("\"{name}\":{value}");
    std::io::stdout().flush().expect("somebody reads it");
}

fn show_text(name: &str, value: &str) {
    show(name, format!("{value:?}"));
}

/// Aborted while it waits for a device: is it cleaned up, and is the device told to stop?
fn abort_in_io<P: Peer>(mut stage: Stage<P>) {
    let device = Device::open();
    let (say, port) = (stage.say.clone(), device.port);
    let abort = stage.peer.start(&mut stage.app, async move {
        let mut conn = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
        let _cleanup = Cleanup(say.clone());
        let _ = say.send("waits".into());
        let mut reply = [0; 32];
        let _ = conn.read(&mut reply).await;
        let _ = conn.write_all(b"STOP").await; // cleanup that has to wait
        Ok(())
    });
    assert_eq!(stage.hear().as_deref(), Some("waits"));
    abort();
    show("drop_ran", stage.hear().as_deref() == Some("dropped"));
    show_text("device_got", &device.got.recv().expect("the connection ends"));
}

/// Aborted when its access to the world is queued and not yet done: is it done, and does the app go on?
fn abort_in_access<P: Peer>(mut stage: Stage<P>) {
    let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
    let abort = stage.peer.start(&mut stage.app, async move {
        let mut write = pin!(access.write(entity, 1.0));
        std::future::poll_fn(|cx| {
            let polled = write.as_mut().poll(cx);
            let _ = say.send(if polled.is_ready() { "done" } else { "queued" }.into());
            polled
        })
        .await
    });
    let first = match stage.heard.recv_timeout(Duration::from_millis(200)) {
        Ok(text) => text,
        Err(_) => stage.hear().expect("it runs in a frame"),
    };
    show_text("when_aborted", &first);
    abort();
    std::thread::sleep(Duration::from_millis(50)); // so that the runtime has dropped it
    stage.frames(3);
    show("written", stage.value() == 1.0);
}

/// Its entity is despawned while it works: does it end?
fn despawn<P: Peer>(mut stage: Stage<P>) {
    let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
    stage.peer.leave(&mut stage.app, async move {
        let _cleanup = Cleanup(say.clone());
        loop {
            let _ = say.send(format!("{:?}", access.read(entity).await));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(stage.hear().as_deref(), Some("Some(0.0)"));
    stage.app.world_mut().despawn(entity);
    let mut turns = 0;
    let mut ended = false;
    while turns < 3 && !ended {
        match stage.hear().as_deref() {
            Some("None") => turns += 1,
            Some("dropped") | None => ended = true,
            Some(_) => {}
        }
    }
    show("ended_by_despawn", ended);
    show("turns_without_entity", turns);
}

/// It waits for a component of an entity that is despawned: does the wait end?
fn despawn_in_wait<P: Peer>(mut stage: Stage<P>) {
    let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
    stage.peer.leave(&mut stage.app, async move {
        let _ = say.send("waits".into());
        let _ = say.send(match access.ready(entity).await {
            Some(told) => format!("{told:?}"),
            None => "the plugin waits for no component".into(),
        });
        Ok(())
    });
    assert_eq!(stage.hear().as_deref(), Some("waits"));
    stage.frames(3);
    stage.app.world_mut().despawn(entity);
    show_text("task_was_told", stage.hear().as_deref().unwrap_or(NOTHING));
}

/// It writes to an entity that is gone: what is it told?
fn dead_target<P: Peer>(mut stage: Stage<P>) {
    let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
    stage.app.world_mut().despawn(entity);
    stage.peer.leave(&mut stage.app, async move {
        let told = access.write(entity, 1.0).await;
        let _ = say.send(format!("{told:?}"));
        told
    });
    show_text("task_was_told", stage.hear().as_deref().unwrap_or(NOTHING));
}

/// The device hangs up, the task ends with an error: who is told, and what does the world say?
fn link_lost<P: Peer>(mut stage: Stage<P>) {
    let device = Device::open();
    let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
    let port = device.port;
    stage.peer.leave(&mut stage.app, async move {
        let _cleanup = Cleanup(say.clone());
        let mut conn = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
        access.write(entity, 1.0).await?;
        let _ = say.send("waits".into());
        let mut reply = [0; 32];
        match conn.read(&mut reply).await {
            Ok(0) | Err(_) => Err("the link is lost".into()),
            Ok(_) => Ok(()),
        }
    });
    assert_eq!(stage.hear().as_deref(), Some("waits"));
    device.hang_up.send(()).expect("the device is there");
    show("task_ended", stage.hear().as_deref() == Some("dropped"));
    stage.frames(3);
    show("world_still_has_last_value", stage.value() == 1.0);
}

fn task_panics<P: Peer>(mut stage: Stage<P>) {
    let say = stage.say.clone();
    stage.peer.leave(&mut stage.app, async move {
        let _cleanup = Cleanup(say);
        panic!("a mistake in a task");
    });
    show("task_ended", stage.hear().as_deref() == Some("dropped"));
    stage.frames(3);
}

/// Runs frames without a pause until a task has said something; ns and frames it took.
fn run_free<P: Peer>(stage: &mut Stage<P>) -> (f64, f64) {
    let (began, mut frames) = (Instant::now(), 0.0);
    while stage.heard.try_recv().is_err() {
        stage.app.update();
        frames += 1.0;
    }
    (began.elapsed().as_nanos() as f64, frames)
}

/// ns of one read of a component from a task, each awaited before the next; frames run without a pause.
fn cost_one_by_one<P: Peer>(mut stage: Stage<P>) {
    for counts in [false, true] {
        let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
        stage.peer.leave(&mut stage.app, async move {
            for _ in 0..ACCESSES {
                std::hint::black_box(access.read(entity).await);
            }
            let _ = say.send("done".into());
            Ok(())
        });
        let (ns, frames) = run_free(&mut stage);
        if counts {
            show("ns_each", (ns / ACCESSES as f64).round());
            show("frames_each", format!("{:.3}", frames / ACCESSES as f64));
        }
    }
}

/// ns of one read when all are asked for at once.
fn cost_at_once<P: Peer>(mut stage: Stage<P>) {
    for counts in [false, true] {
        let (access, entity, say) = (stage.access.clone(), stage.entity, stage.say.clone());
        stage.peer.leave(&mut stage.app, async move {
            let reads: Vec<_> = (0..ACCESSES).map(|_| access.read(entity)).collect();
            std::hint::black_box(futures::future::join_all(reads).await);
            let _ = say.send("done".into());
            Ok(())
        });
        let (ns, frames) = run_free(&mut stage);
        if counts {
            show("ns_each", (ns / ACCESSES as f64).round());
            show("frames", frames);
        }
    }
}

pub const NAMES: [&str; 9] = [
    "abort_in_io",
    "abort_in_access",
    "despawn",
    "despawn_in_wait",
    "dead_target",
    "link_lost",
    "task_panics",
    "cost_one_by_one",
    "cost_at_once",
];

pub fn run<P: Peer>(name: &str) {
    let case: fn(Stage<P>) = match name {
        "abort_in_io" => abort_in_io,
        "abort_in_access" => abort_in_access,
        "despawn" => despawn,
        "despawn_in_wait" => despawn_in_wait,
        "dead_target" => dead_target,
        "link_lost" => link_lost,
        "task_panics" => task_panics,
        "cost_one_by_one" => cost_one_by_one,
        "cost_at_once" => cost_at_once,
        _ => panic!("no case is named {name}; there are {NAMES:?}"),
    };
    let stage = Stage::open();
    println!("\"opened\":true");
    case(stage);
    std::process::exit(0) // what still runs is not joined
}
