//! Keys in two vaults, under two authorities, are taken away from a database that is being read and written, and given back.
//!
//! Each round takes one of the keys away in one of the ways a custodian has, and holds:
//!
//! 1. The last read is served at most a second after the vault's *no* is confirmed.
//! 2. The data keys, the roots and the keys of pages are nowhere in the memory of the process; before, they were found there.
//! 3. When the key is given back, the database is served without being opened again, and everything that was acknowledged is there.
//!
//! Then the vault falls silent, for less than the grace and for more: an outage is no revocation.
//!
//! `COFFERDAM_REVOCATION_ROUNDS` sets how often, `COFFERDAM_SEED` in which order.

#[path = "revocation/load.rs"]
mod load;
#[path = "azure_vault/mock.rs"]
#[allow(dead_code)]
mod mock;
#[path = "revocation/needles.rs"]
mod needles;
#[path = "revocation/two_vaults.rs"]
mod two_vaults;
#[path = "revocation/watched.rs"]
mod watched;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_keys::{Lease, Reason, Standing};
use cofferdam_tests::random::{Random, number, seed};

use load::Load;
use needles::Needles;
use two_vaults::{TwoVaults, Way};

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    let rounds = number("COFFERDAM_REVOCATION_ROUNDS").unwrap_or(ROUNDS);
    println!("COFFERDAM_SEED={seed} COFFERDAM_REVOCATION_ROUNDS={rounds}");
    let world = TwoVaults::new();
    let load = Load::start(&world);
    let mut random = Random::new(seed);
    let mut times = Times::default();
    for round in 0..rounds {
        let way = Way::ALL[(round as usize) % Way::ALL.len()];
        let customer = random.below(2) == 0;
        revoke_and_restore(&world, &load, way, customer, &mut times);
    }
    let outages = outages(&world, &load);
    let (reads, writes) = load.stop(&world);
    println!(
        "from the confirmed no to the last read: median {:.1} ms, longest {:.1} ms",
        median(&mut times.last_read),
        longest(&times.last_read)
    );
    println!(
        "from the closing of the gate until no key was in memory: median {:.1} ms, longest {:.1} ms",
        median(&mut times.wiped),
        longest(&times.wiped)
    );
    println!(
        "from the key given back to the first read: median {:.1} ms, longest {:.1} ms",
        median(&mut times.restored),
        longest(&times.restored)
    );
    println!("{reads} reads, {writes} acknowledged writes, all of them there");
    println!(
        "revocation: {rounds} rounds, {outages} outages, last read at most {:.1} ms after the confirmed no, first read at most {:.1} ms \
         after the key was given back",
        longest(&times.last_read),
        longest(&times.restored)
    );
    ExitCode::SUCCESS
}

/// Milliseconds, one number for each round.
#[derive(Default)]
struct Times {
    last_read: Vec<f64>,
    wiped: Vec<f64>,
    restored: Vec<f64>,
}

fn revoke_and_restore(world: &TwoVaults, load: &Load, way: Way, customer: bool, times: &mut Times) {
    let what = format!(
        "{way:?} of the {} key",
        if customer {
            "customer"
        } else {
            "infrastructure"
        }
    );
    let lease = world.lease();
    load.wait_for_reads();
    let needles = Needles::of(world);
    let found = needles.count_in_memory();
    assert!(
        found.iter().all(|&count| count > 0),
        "{what}: the scan does not find the keys of a database that is served: {found:?}"
    );

    world.watched.reset();
    world.take_away(way, customer);
    wait(&lease, &what, |standing| !standing.serves());
    until(&what, || lease.wiped().is_some());
    let wiped = lease.wiped().unwrap();
    assert!(wiped.complete, "{what}: {wiped:?}");
    let Standing::Inaccessible { refusal, .. } = lease.standing() else {
        panic!("{what}: not fenced")
    };
    assert_eq!(refusal.reason, way.reason(), "{what}: {refusal}");
    thread::sleep(SETTLE);
    let found = needles.count_in_memory();
    assert!(
        found.iter().all(|&count| count == 0),
        "{what}: keys are left in memory: {found:?}"
    );
    let confirmed = world.watched.confirmed().unwrap();
    let last_read = load.last_read().saturating_duration_since(confirmed);
    assert!(
        last_read <= FENCE_MAX,
        "{what}: read {last_read:?} after the no"
    );
    let words = load.words();
    assert!(
        words.contains(refusal.key.as_str()) && words.contains("closed since"),
        "{what}: readers are told {words:?}"
    );

    let given_back = Instant::now();
    world.give_back(way, customer);
    until(&what, || load.last_read() > given_back);
    let restored = load.first_read_after(given_back);
    wait(&lease, &what, |standing| *standing == Standing::Ready);
    load.check(world);
    times.last_read.push(last_read.as_secs_f64() * 1e3);
    times.wiped.push(wiped.after.as_secs_f64() * 1e3);
    times.restored.push(restored.as_secs_f64() * 1e3);
    println!(
        "{what}: last read {:.1} ms after the confirmed no, keys gone {:.1} ms after the gate closed, served again after {:.1} ms",
        times.last_read.last().unwrap(),
        times.wiped.last().unwrap(),
        times.restored.last().unwrap()
    );
}

/// Silence for a third of the grace, and for more than all of it.
fn outages(world: &TwoVaults, load: &Load) -> usize {
    let lease = world.lease();
    load.wait_for_reads();
    let refused_before = load.refused();
    world.fall_silent(true);
    wait(&lease, "a short outage", |standing| {
        matches!(standing, Standing::Degraded { .. })
    });
    thread::sleep(two_vaults::OUTAGE_GRACE / 3);
    world.fall_silent(false);
    wait(&lease, "a short outage", |standing| {
        *standing == Standing::Ready
    });
    assert_eq!(load.refused(), refused_before, "a short outage was noticed");

    world.fall_silent(true);
    wait(&lease, "a long outage", |standing| !standing.serves());
    let Standing::Inaccessible { refusal, .. } = lease.standing() else {
        panic!("a long outage: not fenced")
    };
    assert_eq!(refusal.reason, Reason::Unreachable, "{refusal}");
    let back = Instant::now();
    world.fall_silent(false);
    until("a long outage", || load.last_read() > back);
    wait(&lease, "a long outage", |standing| {
        *standing == Standing::Ready
    });
    load.check(world);
    2
}

fn wait(lease: &Arc<Lease>, what: &str, reached: impl Fn(&Standing) -> bool) {
    until(what, || reached(&lease.standing()));
}

fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}: nothing happens");
        thread::sleep(Duration::from_millis(1));
    }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

fn longest(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(0.0, f64::max)
}

const ROUNDS: u64 = 20;
/// The promise: design section 8.
const FENCE_MAX: Duration = Duration::from_secs(1);
/// For what comes after the fence to show itself.
const SETTLE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);
