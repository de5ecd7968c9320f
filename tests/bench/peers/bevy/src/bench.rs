//! Components, ids and the clock that the workloads share.
use std::time::Instant;

use bevy_ecs::prelude::*;

pub const ROWS: usize = 100_000;
const THROWN_AWAY: usize = 2;

#[derive(Component, Clone, Copy, Default)]
pub struct Pos {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

#[derive(Component, Clone, Copy, Default)]
pub struct Vel {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

#[derive(Component, Clone, Copy, Default)]
#[allow(dead_code)]
pub struct Load {
    pub a: f64,
    pub b: f64,
    pub c: u32,
}

#[derive(Component, Clone, Copy, Default)]
#[allow(dead_code)]
pub struct Blob {
    pub text: [u8; 24],
}

/// Four components, 96 bytes.
pub type Row = (Pos, Vel, Load, Blob);

pub fn row(i: usize) -> Row {
    let at = i as f64;
    let pos = Pos { x: at, y: at, z: at };
    let vel = Vel { x: 1.0, y: 2.0, z: 3.0 };
    (pos, vel, Load { a: at, b: at, c: i as u32 }, Blob { text: [7; 24] })
}

/// Entities with a position and a speed.
pub fn moving(world: &mut World, count: usize) -> Vec<Entity> {
    world.spawn_batch((0..count).map(|i| (row(i).0, row(i).1))).collect()
}

/// The same order as limits_shuffle gives.
pub fn shuffle<T>(list: &mut [T]) {
    let mut seed: u64 = 88172645463325252;
    for i in (1..list.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        list.swap(i, (seed % (i as u64 + 1)) as usize);
    }
}

pub fn ns(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

/// Whether the workload was asked for: without an argument all are.
pub fn wanted(name: &str) -> bool {
    std::env::args().nth(1).is_none_or(|one| one == name)
}

/// Prints the median of `samples` calls, if it is wanted; each returns the ns that its measured part took.
pub fn report(name: &str, samples: usize, items: usize, mut sample: impl FnMut() -> f64) {
    if !wanted(name) {
        return;
    }
    let mut list: Vec<f64> = (0..samples + THROWN_AWAY).map(|_| sample()).collect();
    list.drain(..THROWN_AWAY);
    list.sort_by(f64::total_cmp);
    println!("{name}\t{:.4}", list[samples / 2] / items as f64);
}
