//! The workloads of tests/bench/core.c on bevy_ecs, single-threaded. Prints one line for each,
//! or only for the one that the argument names: name, tab, ns per item. Medians; the first two
//! samples of each are thrown away.
//!
//! Warm: the world has held as many entities before, so its tables and lists have their size.
//! Cold: the world is new. What an iteration of the sample needs is made outside of the clock.
mod access;
mod archetypes;
mod bench;
mod structure;

fn main() {
    access::integrate();
    access::fragmented();
    access::get_random();
    access::changed();
    structure::spawn();
    structure::despawn();
    structure::add_remove();
    structure::apply();
    archetypes::many();
}
