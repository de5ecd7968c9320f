//! 10,000 archetypes of one entity each: Pos and the tags whose bits are in 1 .. 10,000.
use std::hint::black_box;
use std::ptr::NonNull;

use bevy_ecs::component::ComponentId;
use bevy_ecs::prelude::*;
use bevy_ecs::ptr::OwningPtr;

use crate::bench::*;

const KINDS: usize = 10_000;

#[derive(Component)]
struct Tag<const N: usize>;

macro_rules! register_tags {
    ($world:expr, $($tag:literal)*) => { [ $( $world.register_component::<Tag<$tag>>() ),* ] };
}

/// The components of the tags and, last, of Pos.
fn components(world: &mut World) -> Vec<ComponentId> {
    let mut ids = register_tags!(world, 0 1 2 3 4 5 6 7 8 9 10 11 12 13).to_vec();
    ids.push(world.register_component::<Pos>());
    ids
}

/// Straight into its archetype, as a bundle of known components would be.
fn spawn_kind(world: &mut World, components: &[ComponentId], kind: usize) {
    let mut pos = row(kind).0;
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    let (tags, last) = components.split_at(components.len() - 1);
    for (_, tag) in tags.iter().enumerate().filter(|(bit, _)| kind >> bit & 1 == 1) {
        ids.push(*tag);
        // SAFETY: a tag has no bytes.
        values.push(unsafe { OwningPtr::new(NonNull::dangling()) });
    }
    ids.push(last[0]);
    // SAFETY: `pos` is a Pos, is Copy and lives until the values are moved in.
    values.push(unsafe { OwningPtr::new(NonNull::from(&mut pos).cast()) });
    // SAFETY: each value is of the component at its place.
    unsafe { world.spawn_empty().insert_by_ids(&ids, values.into_iter()) };
}

type TwoTags = (With<Tag<0>>, With<Tag<1>>);

/// A world with them, and the ns that they took; a query knows of each.
fn spawn_kinds() -> (World, f64) {
    let mut world = World::new();
    let components = components(&mut world);
    let mut query = world.query::<&Pos>();
    let took = ns(|| {
        for kind in 1..=KINDS {
            spawn_kind(&mut world, &components, kind);
        }
        query.update_archetypes(&world);
    });
    (world, took)
}

pub fn many() {
    report("archetypes_create", 9, KINDS, || spawn_kinds().1);
    let (mut world, _) = spawn_kinds();
    let mut query = world.query::<&Pos>();
    report("archetypes_query", 9, KINDS, || {
        ns(|| {
            black_box(world.query_filtered::<&Pos, Changed<Pos>>());
        })
    });
    report("archetypes_iterate", 15, KINDS, || {
        ns(|| {
            let mut sum = 0.0;
            query.iter(&world).for_each(|pos| sum += pos.x);
            black_box(sum);
        })
    });
    let mut query = world.query_filtered::<(), TwoTags>();
    let found = query.iter(&world).len();
    report("archetypes_count", 15, found, || {
        ns(|| {
            black_box(query.iter(&world).len());
        })
    });
}
