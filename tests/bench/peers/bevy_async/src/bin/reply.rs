//! The work of tests/bench/device.h on Bevy: a task asks the device, stores the reply in a component
//! through the plugin, and tells how long after the device's stamp it could be read in the world.
//! arguments: `tokio_tasks` or `async_ecs`, the plugin; `60hz` or `free`, the loop; the device's port.
use std::time::Duration;

use bevy_app::{App, ScheduleRunnerPlugin, TaskPoolPlugin};
use bevy_async_ecs::{AsyncEcsPlugin, AsyncWorld};
use bevy_ecs::prelude::*;
use bevy_tokio_tasks::{TokioTasksPlugin, TokioTasksRuntime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

#[derive(Component, Clone, Copy, Default)]
#[allow(dead_code)]
struct Sample {
    stamp_ns: f64,
    number: f64,
    x: f64,
    y: f64,
}

struct Device {
    conn: TcpStream,
    number: u32,
    took_ns: f64,
}

impl Device {
    async fn connect(port: u16) -> Device {
        let conn = TcpStream::connect(("127.0.0.1", port)).await.expect("the device listens");
        conn.set_nodelay(true).expect("a socket takes options");
        Device { conn, number: 0, took_ns: 0.0 }
    }

    /// Asks once. When the device has hung up the program ends: it has what it wanted.
    async fn ask(&mut self) -> Sample {
        let (mut request, mut reply) = ([0; 12], [0; 32]);
        request[..4].copy_from_slice(&self.number.to_le_bytes());
        request[4..].copy_from_slice(&self.took_ns.to_le_bytes());
        self.number += 1;
        let asked = self.conn.write_all(&request).await.is_ok();
        if !asked || self.conn.read_exact(&mut reply).await.is_err() {
            std::process::exit(0);
        }
        let at = |i: usize| f64::from_le_bytes(reply[i * 8..][..8].try_into().expect("8 bytes"));
        Sample { stamp_ns: at(0), number: at(1), x: at(2), y: at(3) }
    }
}

fn now_ns() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to `t`, which outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Stores the sample and reads it back: ns since the device's stamp.
fn store(world: &mut World, entity: Entity, sample: Sample) -> f64 {
    world.entity_mut(entity).insert(sample);
    let seen = world.get::<Sample>(entity).expect("it was just inserted");
    now_ns() - seen.stamp_ns
}

fn by_tokio_tasks(app: &mut App, entity: Entity, port: u16) {
    app.add_plugins(TokioTasksPlugin::default());
    let runtime = app.world().resource::<TokioTasksRuntime>();
    runtime.spawn_background_task(move |mut context| async move {
        let mut device = Device::connect(port).await;
        loop {
            let sample = device.ask().await;
            device.took_ns =
                context.run_on_main_thread(move |main| store(main.world, entity, sample)).await;
        }
    });
}

/// Its futures run where one likes: here on a runtime of tokio, the same as the other plugin's.
fn by_async_ecs(app: &mut App, entity: Entity, port: u16) -> Runtime {
    app.add_plugins(AsyncEcsPlugin);
    let shared = AsyncWorld::from_world(app.world_mut());
    let runtime = Runtime::new().expect("threads can be started");
    runtime.spawn(async move {
        let mut device = Device::connect(port).await;
        loop {
            let sample = device.ask().await;
            let (tell, told) = oneshot::channel();
            // `apply` returns when the command is queued; what the closure tells says when it was run
            shared
                .apply(move |world: &mut World| {
                    let _ = tell.send(store(world, entity, sample));
                })
                .await;
            device.took_ns = told.await.expect("the command is run");
        }
    });
    runtime
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, plugin, pace, port] = words.as_slice() else {
        panic!("usage: reply tokio_tasks|async_ecs 60hz|free PORT");
    };
    let port = port.parse().expect("a port is a number");
    let wait = match pace.as_str() {
        "60hz" => Duration::from_secs_f64(1.0 / 60.0),
        "free" => Duration::ZERO,
        _ => panic!("no pace is named {pace}"),
    };
    let mut app = App::new();
    app.add_plugins((TaskPoolPlugin::default(), ScheduleRunnerPlugin::run_loop(wait)));
    let entity = app.world_mut().spawn(Sample::default()).id();
    let _kept = match plugin.as_str() {
        "tokio_tasks" => {
            by_tokio_tasks(&mut app, entity, port);
            None
        }
        "async_ecs" => Some(by_async_ecs(&mut app, entity, port)),
        _ => panic!("no plugin is named {plugin}"),
    };
    app.run();
}
