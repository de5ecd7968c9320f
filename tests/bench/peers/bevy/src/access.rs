//! Reading and writing values where they are.
use std::hint::black_box;

use bevy_ecs::prelude::*;

use crate::bench::*;

/// pos += vel. Marks each row as changed; stator marks each chunk.
pub fn integrate() {
    for (name, rows) in [
        ("integrate_1k", 1_000),
        ("integrate_10k", 10_000),
        ("integrate_100k", 100_000),
        ("integrate_1m", 1_000_000),
    ] {
        if !wanted(name) {
            continue;
        }
        let mut world = World::new();
        moving(&mut world, rows);
        let mut query = world.query::<(&mut Pos, &Vel)>();
        let passes = 100_000_usize.div_ceil(rows);
        let samples = if rows > 100_000 { 11 } else { 31 };
        report(name, samples, rows * passes, || {
            ns(|| {
                for _ in 0..passes {
                    let dt = black_box(0.01);
                    query.iter_mut(&mut world).for_each(|(mut pos, vel)| {
                        pos.x += vel.x * dt;
                        pos.y += vel.y * dt;
                        pos.z += vel.z * dt;
                    });
                }
            })
        });
    }
}

#[derive(Component)]
struct Frag {
    v: f64,
    _w: f64,
}

#[derive(Component)]
struct Letter<const N: usize>;

fn spawn_letter<const N: usize>(world: &mut World) {
    for i in 0..20 {
        world.spawn((Frag { v: f64::from(i), _w: 0.0 }, Letter::<N>));
    }
}

macro_rules! spawn_letters {
    ($world:expr, $($letter:literal)*) => { $( spawn_letter::<$letter>($world); )* };
}

/// Sum of one field over 26 archetypes of 20 rows.
pub fn fragmented() {
    let mut world = World::new();
    spawn_letters!(&mut world, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25);
    let mut query = world.query::<&Frag>();
    report("fragmented", 31, 520 * 100, || {
        ns(|| {
            for _ in 0..100 {
                let mut sum = 0.0;
                query.iter(&world).for_each(|frag| sum += frag.v);
                black_box(sum);
            }
        })
    });
}

/// One component by entity, in random order: by a query (the quicker way), and by the world.
pub fn get_random() {
    let mut world = World::new();
    let mut ids = moving(&mut world, ROWS);
    shuffle(&mut ids);
    let mut state = world.query::<&Pos>();
    report("get_random", 15, ROWS, || {
        ns(|| {
            let query = state.query(&world);
            black_box(ids.iter().map(|id| query.get(*id).unwrap().x).sum::<f64>());
        })
    });
    report("get_random_world", 15, ROWS, || {
        ns(|| {
            black_box(ids.iter().map(|id| world.get::<Pos>(*id).unwrap().x).sum::<f64>());
        })
    });
}

/// A query of what has changed, 1 % of the rows: every 100th, or the first ones. Time per row that
/// there is. bevy looks at each row's tick.
pub fn changed() {
    for (name, step) in [("changed_spread", 100), ("changed_together", 1)] {
        let mut world = World::new();
        let ids = moving(&mut world, ROWS);
        let mut query = world.query_filtered::<&Pos, Changed<Pos>>();
        report(name, 31, ROWS, || {
            world.clear_trackers();
            for i in 0..ROWS / 100 {
                world.get_mut::<Pos>(ids[i * step]).unwrap().x += 1.0;
            }
            let (mut seen, mut sum) = (0, 0.0);
            let took = ns(|| {
                query.iter(&world).for_each(|pos| {
                    seen += 1;
                    sum += pos.x;
                });
            });
            assert_eq!(black_box((seen, sum)).0, ROWS / 100);
            took
        });
    }
}
