//! A key that is taken away from a volume in use, and given back.

use std::thread;
use std::time::{Duration, Instant};

use cofferdam_keys::{KeyUri, LeasePolicy, LeaseTerms, Leases, Standing, Suite};
use cofferdam_sealed_file::{Error, Volume};
use cofferdam_vaults::{Vaults, Which};

use crate::world::{World, clock};
use crate::{Place, all};

fn place() -> Place {
    let leases = Leases::new(LeaseTerms {
        policy: LeasePolicy {
            probe_interval: Duration::from_millis(50),
            revoke_deadline: Duration::from_millis(200),
            ..LeasePolicy::default()
        },
        clock,
        monotonic,
    });
    Place::on(World::with(Suite::Two, leases), 4096)
}

#[test]
fn a_fence_stops_every_call_and_what_is_sealed_goes_home() {
    let place = place();
    let volume = place.open();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(b"synced", 0).unwrap();
    file.sync().unwrap();
    file.write_at(b" and written", 6).unwrap();

    enable(&place, false);
    let lease = volume.lease().unwrap();
    soon(|| matches!(lease.standing(), Standing::Inaccessible { .. }) && lease.wiped().is_some());
    let wiped = lease.wiped().unwrap();
    assert!(wiped.complete, "keys were left after {:?}", wiped.after);
    assert!(wiped.after < Duration::from_secs(1));

    let mut bytes = [0; 18];
    let fenced =
        |result: Result<(), Error>| assert!(matches!(result, Err(Error::Fenced(_))), "{result:?}");
    fenced(file.read_at(&mut bytes, 0).map(|_| ()));
    fenced(file.len().map(|_| ()));
    fenced(file.write_at(b"x", 0));
    fenced(file.set_len(0));
    fenced(file.set_len(5));
    fenced(volume.open_file(b"a").map(|_| ()));
    fenced(volume.create_file(b"b").map(|_| ()));
    fenced(volume.rename_file(b"a", b"b"));
    fenced(volume.remove_file(b"a"));
    fenced(volume.file_names().map(|_| ()));
    assert_eq!(bytes, [0; 18]);
    volume.sync().unwrap();
    volume.bring_home().unwrap();

    // Closed and opened while the key is away: the keys are refused, and the journal is none of their business.
    drop((file, volume));
    assert!(matches!(
        Volume::open(&place.setup()),
        Err(Error::Keys(_) | Error::Fenced(_))
    ));

    enable(&place, true);
    let mut volume = None;
    soon(|| {
        volume = Volume::open(&place.setup()).ok();
        volume.is_some()
    });
    let file = volume.as_ref().unwrap().open_file(b"a").unwrap();
    assert_eq!(all(&file), b"synced and written");
}

#[test]
fn a_volume_that_stays_open_goes_on_when_the_key_is_back() {
    let place = place();
    let volume = place.open();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(&[3; 10_000], 0).unwrap();
    for _ in 0..2 {
        enable(&place, false);
        soon(|| matches!(file.len(), Err(Error::Fenced(_))));
        enable(&place, true);
        soon(|| file.len().is_ok());
        assert_eq!(all(&file), [3; 10_000]);
        file.write_at(&[3; 5000], 5000).unwrap();
        file.sync().unwrap();
    }
    assert_eq!(volume.file_names().unwrap(), [b"a"]);
}

/// Goal: who reads a whole file, and is slow at it, does not keep the keys in memory.
#[test]
fn a_fence_does_not_wait_for_a_scrub() {
    let place = place();
    let volume = place.open();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(&vec![3; 16 << 20], 0).unwrap();
    file.sync().unwrap();
    thread::scope(|scope| {
        let scrubbing = scope.spawn(|| {
            file.scrub(|done, _| {
                if done > 0 {
                    thread::sleep(Duration::from_millis(100));
                }
            })
        });
        thread::sleep(Duration::from_millis(300));
        enable(&place, false);
        let lease = volume.lease().unwrap();
        soon(|| lease.wiped().is_some());
        let wiped = lease.wiped().unwrap();
        assert!(wiped.complete, "keys were left after {:?}", wiped.after);
        assert!(wiped.after < Duration::from_millis(800), "{wiped:?}");
        let scrubbed = scrubbing.join().unwrap();
        assert!(matches!(scrubbed, Err(Error::Fenced(_))), "{scrubbed:?}");
    });
}

/// Gives or takes the customer's key.
fn enable(place: &Place, enabled: bool) {
    let path = place.world.keys.path().join("customer.key");
    let vaults = Vaults::without_passphrases();
    let vault = vaults
        .file(&KeyUri::from_file_path(&path).unwrap())
        .unwrap();
    vault.set_enabled(&Which::Key, enabled).unwrap();
}

fn soon(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "not within ten seconds"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Time that passes; a test may look at the clock.
fn monotonic() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}
