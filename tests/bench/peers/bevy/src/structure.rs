//! Spawning, despawning, adding and removing: through Commands (recorded, then applied: what stator
//! does) and at once on the world. Commands are applied one by one; nothing is validated beforehand
//! and there is no batch that is taken back as a whole.
use std::hint::black_box;

use bevy_ecs::prelude::*;
use bevy_ecs::world::CommandQueue;

use crate::bench::*;

/// ns to record and apply.
fn deferred(world: &mut World, queue: &mut CommandQueue, fill: impl FnOnce(&mut Commands)) -> f64 {
    ns(|| {
        fill(&mut Commands::new(queue, world));
        queue.apply(world);
    })
}

fn known_world() -> World {
    let mut world = World::new();
    let first = world.spawn(row(0)).id();
    world.despawn(first);
    world
}

unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
}

/// What the world before has freed, so that a new one is cold.
fn give_memory_back() {
    // SAFETY: a function of glibc that may be called at any time.
    unsafe { malloc_trim(0) };
}

fn despawn_all(world: &mut World) {
    let ids: Vec<Entity> = world.query::<Entity>().iter(world).collect();
    for id in ids {
        world.despawn(id);
    }
}

fn by_commands(world: &mut World, queue: &mut CommandQueue) -> f64 {
    deferred(world, queue, |commands| {
        for i in 0..ROWS {
            black_box(commands.spawn(row(i)).id());
        }
    })
}

fn by_batch(world: &mut World) -> f64 {
    ns(|| {
        world.spawn_batch((0..ROWS).map(row)).for_each(|id| {
            black_box(id);
        })
    })
}

pub fn spawn() {
    let (mut world, mut queue) = (known_world(), CommandQueue::default());
    report("spawn_commands", 15, ROWS, || {
        let took = by_commands(&mut world, &mut queue);
        despawn_all(&mut world);
        took
    });
    report("spawn_commands_cold", 15, ROWS, || {
        give_memory_back();
        by_commands(&mut known_world(), &mut CommandQueue::default())
    });
    let mut world = known_world();
    report("spawn_bulk", 15, ROWS, || {
        let took = by_batch(&mut world);
        despawn_all(&mut world);
        took
    });
    report("spawn_bulk_cold", 15, ROWS, || {
        give_memory_back();
        by_batch(&mut known_world())
    });
}

pub fn despawn() {
    let (mut world, mut queue) = (known_world(), CommandQueue::default());
    report("despawn", 15, ROWS, || {
        let ids: Vec<Entity> = world.spawn_batch((0..ROWS).map(row)).collect();
        deferred(&mut world, &mut queue, |commands| {
            for id in &ids {
                commands.entity(*id).despawn();
            }
        })
    });
    report("despawn_direct", 15, ROWS, || {
        let ids: Vec<Entity> = world.spawn_batch((0..ROWS).map(row)).collect();
        ns(|| {
            for id in &ids {
                world.despawn(*id);
            }
        })
    });
}

#[derive(Component, Clone, Copy)]
struct Extra(#[allow(dead_code)] f64);

#[derive(Component, Clone, Copy)]
#[component(storage = "SparseSet")]
struct Toggle(#[allow(dead_code)] f64);

fn toggle<T: Component>(kind: &str, make: fn(f64) -> T) {
    let (mut world, mut queue) = (World::new(), CommandQueue::default());
    let ids = moving(&mut world, ROWS);
    let mut add = |world: &mut World| {
        deferred(world, &mut queue, |commands| {
            for (i, id) in ids.iter().enumerate() {
                commands.entity(*id).insert(make(i as f64));
            }
        })
    };
    let mut queue = CommandQueue::default();
    let mut remove = |world: &mut World| {
        deferred(world, &mut queue, |commands| {
            for id in &ids {
                commands.entity(*id).remove::<T>();
            }
        })
    };
    report(&format!("add_{kind}"), 15, ROWS, || {
        let took = add(&mut world);
        remove(&mut world);
        took
    });
    report(&format!("remove_{kind}"), 15, ROWS, || {
        add(&mut world);
        remove(&mut world)
    });
    let insert = |world: &mut World| {
        ns(|| {
            for (i, id) in ids.iter().enumerate() {
                world.entity_mut(*id).insert(make(i as f64));
            }
        })
    };
    let take = |world: &mut World| {
        ns(|| {
            for id in &ids {
                world.entity_mut(*id).remove::<T>();
            }
        })
    };
    report(&format!("add_{kind}_direct"), 15, ROWS, || {
        let took = insert(&mut world);
        take(&mut world);
        took
    });
    report(&format!("remove_{kind}_direct"), 15, ROWS, || {
        insert(&mut world);
        take(&mut world)
    });
}

pub fn add_remove() {
    toggle("table", Extra);
    toggle("sparse", Toggle);
}

/// A whole component over one that is there. bevy has no command that sets some fields.
pub fn apply() {
    let (mut world, mut queue) = (World::new(), CommandQueue::default());
    let mut ids = moving(&mut world, ROWS);
    let record = |world: &World, queue: &mut CommandQueue, ids: &[Entity]| {
        ns(|| {
            let mut commands = Commands::new(queue, world);
            for (i, id) in ids.iter().enumerate() {
                commands.entity(*id).insert(Pos { x: i as f64, y: 1.0, z: 2.0 });
            }
        })
    };
    report("record", 15, ROWS, || {
        let took = record(&world, &mut queue, &ids);
        queue.apply(&mut world);
        took
    });
    let mut applied = |world: &mut World, ids: &[Entity]| {
        record(world, &mut queue, ids);
        ns(|| queue.apply(world))
    };
    report("apply_insert_id", 15, ROWS, || applied(&mut world, &ids));
    shuffle(&mut ids);
    report("apply_insert_random", 15, ROWS, || applied(&mut world, &ids));
    report("insert_direct_random", 15, ROWS, || {
        ns(|| {
            for (i, id) in ids.iter().enumerate() {
                world.entity_mut(*id).insert(Pos { x: i as f64, y: 1.0, z: 2.0 });
            }
        })
    });
}
