//! A SQLite file system in memory that loses power on demand.
//!
//! A [`World`] is one directory on one disk of one machine, registered with SQLite as a VFS under a
//! name of its own. It promises what SQLite's unix VFS promises, without power-safe overwrite and
//! without memory mapping, and keeps nothing that it did not promise:
//!
//! 1. A write is durable after `xSync` of its file, not earlier. Until then a power cut may drop, keep,
//!    tear (at 512 bytes) or reorder it.
//! 2. A created or removed name is durable after `xDelete` with `syncDir`, or after the first `xSync`
//!    of a file whose name is not durable yet.
//! 3. Locks and shared memory live as long as the machine has power.
//!
//! Any operation can be chosen to fail, or to be the last one before the power goes.

use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::crash_vfs_ffi;
use crate::crash_vfs_state::State;
pub use crate::crash_vfs_state::{Fault, FaultKind, Operation, Snapshot};
use crate::power_cut::Loss;
use crate::random::Random;

/// What the disk of a world says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// What `xSectorSize` answers.
    pub sector_size: u32,
    /// Whether creations, removals and changes of length become durable in the order in which they
    /// were asked for, as on a file system with a journal.
    pub names_in_order: bool,
    /// A disk that lies: `xSync` succeeds and does nothing. Only to show that a test can fail.
    pub ignores_sync: bool,
}

impl Disk {
    /// A disk that keeps its promises, and none beyond them.
    pub fn honest(sector_size: u32) -> Disk {
        Disk {
            sector_size,
            names_in_order: false,
            ignores_sync: false,
        }
    }
}

/// One machine with one disk.
pub struct World {
    name: String,
    shared: Arc<Shared>,
}

/// What a world and the file handles in it have in common.
pub(crate) struct Shared(Mutex<State>);

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no operation of the simulated disk panics")
    }
}

impl World {
    /// An empty world, registered with SQLite for the rest of the process.
    ///
    /// # Panics
    /// When SQLite refuses the registration.
    pub fn new(disk: Disk) -> World {
        let shared = Arc::new(Shared(Mutex::new(State::new(disk))));
        let name = crash_vfs_ffi::register(Arc::clone(&shared));
        World {
            name: name
                .into_string()
                .expect("the name of a world is made of ASCII"),
            shared,
        }
    }

    /// The name of the VFS.
    pub fn vfs(&self) -> &str {
        &self.name
    }

    /// Replaces the disk by an empty one.
    ///
    /// # Panics
    /// When a file is open.
    pub fn clear(&self, disk: Disk) {
        *self.idle() = State::new(disk);
    }

    /// Lets `operation` (counted from 1, only those that change the disk) be the last one: it has
    /// been issued but is not durable, it and every later call fail with `SQLITE_IOERR`.
    pub fn crash_at(&self, operation: u64) {
        self.shared.state().crash_at(operation);
    }

    /// Takes back what [`World::crash_at`] announced, if it has not happened yet.
    pub fn stay_up(&self) {
        self.shared.state().crash_at = None;
    }

    /// Takes the power away before the next call, which fails like all after it.
    pub fn crash(&self) {
        self.shared.state().crashed = true;
    }

    /// Whether the power is gone.
    pub fn crashed(&self) -> bool {
        self.shared.state().crashed
    }

    /// Gives the power back. What was not durable is lost as `loss` says; faults are forgotten.
    ///
    /// # Panics
    /// When a file is still open: the programs of the time before the crash must be gone, and a
    /// handle that outlives its connection is a leak.
    pub fn power_cycle(&self, loss: Loss, seed: u64) {
        let mut state = self.idle();
        state.power_cycle(loss, &mut Random::new(seed));
    }

    /// Goes back to the moment of a snapshot and cuts the power there.
    ///
    /// # Panics
    /// When a file is open.
    pub fn power_cycle_at(&self, snapshot: &Snapshot, loss: Loss, seed: u64) {
        let mut state = self.idle();
        state.files = snapshot.files.clone();
        state.power_cycle(loss, &mut Random::new(seed));
    }

    /// Arms a fault; its count starts here.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().inject(fault);
    }

    /// Disarms the fault and says how often it struck.
    pub fn faults_injected(&self) -> u64 {
        self.shared.state().disarm()
    }

    /// Which operation the last injected fault struck.
    pub fn fault_struck(&self) -> Option<Operation> {
        self.shared.state().fault_operation
    }

    /// From here on keeps `capacity` snapshots of moments right after an operation that changes the
    /// disk was issued, each moment with the same probability.
    pub fn take_snapshots(&self, capacity: usize, seed: u64) {
        self.shared
            .state()
            .take_snapshots(capacity, Random::new(seed));
    }

    /// The snapshots, in no order.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.shared.state().snapshots()
    }

    /// Notes how far the program has come; snapshots remember it.
    pub fn note(&self, progress: Progress) {
        self.shared.state().progress = progress;
    }

    /// How far the program came, as last noted.
    pub fn progress(&self) -> Progress {
        self.shared.state().progress
    }

    /// The number of operations that changed the disk since power came on.
    pub fn changes(&self) -> u64 {
        self.shared.state().changes
    }

    /// The names of the files there are.
    pub fn file_names(&self) -> Vec<String> {
        self.shared
            .state()
            .files
            .names()
            .map(str::to_owned)
            .collect()
    }

    /// What stands in a file, durable or not.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.state();
        let node = state.files.find(name)?;
        Some(state.files.bytes(node).to_vec())
    }

    fn idle(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state();
        if state.open_count > 0 {
            // Their owners will close them while this panic unwinds, and need the lock for it.
            drop(state);
            panic!("files are still open");
        }
        state
    }
}

/// How far a program has come through its transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of transactions whose commit was acknowledged.
    pub acknowledged: usize,
    /// Whether the next one is being committed.
    pub committing: bool,
}

/// A name for a world that no other world of this process has.
pub(crate) fn unique_name() -> CString {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    CString::new(format!("crash-{number}")).expect("a number has no NUL")
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, ErrorCode, OpenFlags};

    use super::*;

    /// The locks of a rollback journal: one writer, readers beside it until it commits.
    #[test]
    fn a_writer_waits_for_readers_and_keeps_new_ones_out() {
        let world = World::new(Disk::honest(512));
        let [writer, second, reader, late] = [0; 4].map(|_| open(&world));
        writer.execute_batch("CREATE TABLE t(x)").expect("create");

        writer.execute_batch("BEGIN IMMEDIATE").expect("RESERVED");
        writer
            .execute_batch("INSERT INTO t VALUES(1)")
            .expect("insert");
        assert_busy(second.execute_batch("BEGIN IMMEDIATE"));
        reader.execute_batch("BEGIN").expect("begin");
        assert_eq!(count(&reader), Ok(0), "SHARED beside RESERVED");

        assert_busy(writer.execute_batch("COMMIT"));
        assert_busy(count(&late).map(drop));
        assert_eq!(count(&reader), Ok(0), "the reader goes on under PENDING");
        reader.execute_batch("COMMIT").expect("end of reading");
        writer.execute_batch("COMMIT").expect("EXCLUSIVE");
        assert_eq!(count(&late), Ok(1));

        writer.execute_batch("BEGIN EXCLUSIVE").expect("EXCLUSIVE");
        assert_busy(count(&late).map(drop));
    }

    /// The shared memory of a write-ahead log: snapshots beside one writer, and a checkpoint that a
    /// reader holds up.
    #[test]
    fn a_reader_of_a_log_keeps_its_snapshot() {
        let world = World::new(Disk::honest(4096));
        let [writer, second, reader] = [0; 3].map(|_| open(&world));
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)")
            .expect("create");
        reader.execute_batch("BEGIN").expect("begin");
        assert_eq!(count(&reader), Ok(0));
        writer
            .execute_batch("INSERT INTO t VALUES(1)")
            .expect("commit beside a reader");
        assert_eq!(count(&reader), Ok(0));
        assert_eq!(count(&second), Ok(1));

        writer.execute_batch("BEGIN IMMEDIATE").expect("begin");
        assert_busy(second.execute_batch("BEGIN IMMEDIATE"));
        writer.execute_batch("COMMIT").expect("commit");
        assert_eq!(checkpoint(&writer), 1, "the reader needs the log");
        reader.execute_batch("COMMIT").expect("end of reading");
        assert_eq!(checkpoint(&writer), 0);
        assert_eq!(world.file("/t.db-wal"), Some(Vec::new()));
    }

    /// Without power everything fails; afterwards there is what was synced.
    #[test]
    fn a_crash_ends_everything_until_power_is_back() {
        let world = World::new(Disk::honest(512));
        let connection = open(&world);
        connection
            .execute_batch(
                "PRAGMA synchronous = EXTRA; CREATE TABLE t(x);
                 PRAGMA synchronous = OFF; INSERT INTO t VALUES(1)",
            )
            .expect("create and insert");
        assert_eq!(count(&connection), Ok(1));
        world.crash();
        assert!(open_anyway(&world).is_err());
        assert!(connection.execute_batch("INSERT INTO t VALUES(2)").is_err());
        drop(connection);

        world.power_cycle(Loss::Everything, 1);
        assert_eq!(count(&open(&world)), Ok(0));
    }

    /// A handle that outlives the crash would be a leak in what is tested.
    #[test]
    #[should_panic(expected = "files are still open")]
    fn power_does_not_come_back_under_an_open_file() {
        let world = World::new(Disk::honest(512));
        let connection = open(&world);
        connection
            .execute_batch("CREATE TABLE t(x)")
            .expect("create");
        world.power_cycle(Loss::Nothing, 1);
    }

    /// The chosen operation fails, once or for good, and the file system says so.
    #[test]
    fn a_fault_strikes_and_is_counted() {
        let world = World::new(Disk::honest(512));
        let connection = open(&world);
        connection
            .execute_batch("CREATE TABLE t(x)")
            .expect("create");
        for (kind, persistent) in [(FaultKind::Full, false), (FaultKind::IoError, true)] {
            world.inject(Fault {
                nth: 2,
                kind,
                persistent,
            });
            assert!(connection.execute_batch("INSERT INTO t VALUES(1)").is_err());
            assert!(world.fault_struck().is_some());
            let again = connection.execute_batch("INSERT INTO t VALUES(1)");
            assert_eq!(again.is_err(), persistent);
            let struck = world.faults_injected();
            assert_eq!(struck > 1, persistent);
            connection.execute_batch("DELETE FROM t").expect("delete");
            assert_eq!(count(&connection), Ok(0));
        }
        drop(connection);
        let read = || count(&open(&world));
        world.inject(Fault {
            nth: 1,
            kind: FaultKind::ShortRead,
            persistent: true,
        });
        assert_ne!(read(), Ok(0), "half of a database cannot be read");
        assert!(world.faults_injected() > 0);
        assert_eq!(read(), Ok(0));
    }

    /// What is created in one world is not in another one.
    #[test]
    fn worlds_are_independent() {
        let (one, other) = (World::new(Disk::honest(512)), World::new(Disk::honest(512)));
        open(&one)
            .execute_batch("CREATE TABLE t(x)")
            .expect("create");
        assert_eq!(one.file_names(), ["/t.db"]);
        assert!(count(&open(&other)).is_err());
    }

    fn open(world: &World) -> Connection {
        open_anyway(world).expect("open")
    }

    fn open_anyway(world: &World) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags_and_vfs("/t.db", flags, world.vfs())?;
        connection.busy_timeout(std::time::Duration::ZERO)?;
        Ok(connection)
    }

    fn count(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
    }

    fn checkpoint(connection: &Connection) -> i64 {
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .expect("a checkpoint that is held up is no error")
    }

    fn assert_busy(result: rusqlite::Result<()>) {
        let code = result.expect_err("busy").sqlite_error_code();
        assert_eq!(code, Some(ErrorCode::DatabaseBusy));
    }
}
