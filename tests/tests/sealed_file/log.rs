//! An owner of a log or journal that does what SQLite does: it appends records that check each other, commits, rolls
//! back, begins anew, and after a crash takes what checks.

use std::sync::Arc;

use cofferdam_keys::DataKeys;
use cofferdam_sealed_file::{Disk, Error, FileKind, SealedFile};
use cofferdam_tests::random::Random;

use crate::open;

/// A log, its two handles, and what its owner relies on.
pub(crate) struct Log<D> {
    handles: [SealedFile<D>; 2],
    active: usize,
    tip: Tip,
    committed: Tip,
    cycle: u64,
    pub(crate) relied: Relied,
    random: Random,
    style: Style,
}

/// What must be there after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relied {
    /// The cycle that the ends belong to.
    pub(crate) cycle: u64,
    /// After a power cut, the log reaches this far at least.
    pub(crate) synced: u64,
    /// After a kill, the log reaches this far at least.
    pub(crate) flushed: u64,
}

/// How an owner works; each life draws its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    record_len_max: u64,
    handover: u64,
    foreign_sync: u64,
    rollback: u64,
    restart: u64,
    sync: u64,
    cut: u64,
}

/// An end of the log, and the check of the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tip {
    end: u64,
    check: u64,
}

impl Style {
    pub(crate) fn random(random: &mut Random) -> Style {
        Style {
            record_len_max: *random.pick(&[40, 300, 900, 3000]),
            handover: *random.pick(&[0, 0, 10, 30]),
            foreign_sync: *random.pick(&[0, 0, 10, 20]),
            rollback: *random.pick(&[0, 10, 20]),
            restart: *random.pick(&[0, 5, 15]),
            sync: *random.pick(&[0, 5, 15, 30]),
            cut: *random.pick(&[0, 0, 10]),
        }
    }

    /// Nothing but appending, flushing and syncing through one handle.
    pub(crate) fn append_only(random: &mut Random) -> Style {
        Style {
            handover: 0,
            foreign_sync: 0,
            rollback: 0,
            restart: 0,
            cut: 0,
            ..Style::random(random)
        }
    }
}

impl<D: Disk + Clone> Log<D> {
    /// Opens a log and takes what checks in it, as after a crash.
    pub(crate) fn recover(
        disk: D,
        keys: &Arc<DataKeys>,
        kind: FileKind,
        style: Style,
        mut random: Random,
    ) -> Result<Log<D>, Error> {
        let mut file = open(disk.clone(), keys, kind)?;
        let (cycle, tip) = read_log(&mut file)?.unwrap_or((0, EMPTY));
        let other = open(disk, keys, kind)?;
        let next_cycle = random.next() | 1;
        Ok(Log {
            handles: [file, other],
            active: 0,
            tip,
            committed: tip,
            cycle: if cycle == 0 { next_cycle } else { cycle },
            relied: Relied {
                cycle,
                ..Relied::default()
            },
            random,
            style,
        })
    }

    /// Where the log ends, and in which cycle.
    pub(crate) fn recovered(&self) -> (u64, u64) {
        (self.cycle, self.tip.end)
    }

    /// Works until something fails.
    pub(crate) fn work(&mut self, steps: usize) -> Result<(), Error> {
        for _ in 0..steps {
            let random = &mut self.random;
            let mut roll = random.below(100);
            let mut falls = |share: u64| {
                let hit = roll < share;
                roll = roll.saturating_sub(share).max(if hit { 100 } else { 0 });
                hit
            };
            if falls(self.style.sync) {
                self.sync()?;
            } else if falls(self.style.handover) {
                self.hand_over()?;
            } else if falls(self.style.foreign_sync) {
                self.sync_through_other()?;
            } else if falls(self.style.rollback) {
                self.tip = self.committed;
            } else if falls(self.style.restart) {
                self.restart()?;
            } else if falls(self.style.cut) {
                self.cut()?;
            } else if falls(20) {
                self.flush()?;
            } else {
                self.append()?;
                if self.random.chance(60) {
                    self.committed = self.tip;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Error> {
        if self.tip.end == 0 {
            let header = [MAGIC, self.cycle, mix(MAGIC, self.cycle)].map(u64::to_le_bytes);
            self.file().write_at(header.as_flattened(), 0)?;
            self.tip = Tip {
                end: HEADER_LEN as u64,
                check: self.cycle,
            };
            // Others rely on nothing in this file any more.
            self.relied = Relied {
                cycle: self.cycle,
                ..Relied::default()
            };
        }
        let len = 1 + self.random.below(self.style.record_len_max);
        let nonce = self.random.next();
        let check = mix(mix(self.tip.check, nonce), len);
        let head = [len, nonce, check].map(u64::to_le_bytes);
        let mut record = head.as_flattened().to_vec();
        record.extend(body(check, len));
        let offset = self.tip.end;
        // SQLite writes the head and the page of a frame apart.
        let split = self.random.index(record.len());
        self.file().write_at(&record[..split], offset)?;
        self.file()
            .write_at(&record[split..], offset + split as u64)?;
        self.tip = Tip {
            end: offset + record.len() as u64,
            check,
        };
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file().flush()?;
        self.relied.flushed = self.committed.end;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.file().sync()?;
        self.relied.synced = self.committed.end;
        self.relied.flushed = self.committed.end;
        if self.random.chance(70) {
            self.flush()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Error> {
        self.tip = self.committed;
        self.flush()?;
        self.active = 1 - self.active;
        self.file().forget();
        Ok(())
    }

    /// A checkpoint by another process syncs the log and leaves it alone.
    fn sync_through_other(&mut self) -> Result<(), Error> {
        self.flush()?;
        let other = &mut self.handles[1 - self.active];
        other.forget();
        other.sync()?;
        other.flush()?;
        self.relied.synced = self.committed.end;
        Ok(())
    }

    /// Everything in the log is elsewhere by now: it is written again from its beginning.
    fn restart(&mut self) -> Result<(), Error> {
        self.sync()?;
        self.cycle = self.random.next() | 1;
        self.tip = EMPTY;
        self.committed = EMPTY;
        Ok(())
    }

    /// What lies behind the last commit is cut off, or everything after a restart.
    fn cut(&mut self) -> Result<(), Error> {
        self.tip = self.committed;
        if self.tip.end > 0 {
            let end = self.tip.end;
            self.file().set_len(end)?;
            self.relied.flushed = end;
        }
        Ok(())
    }

    fn file(&mut self) -> &mut SealedFile<D> {
        &mut self.handles[self.active]
    }
}

/// What checks from the beginning on: the cycle and the end.
fn read_log<D: Disk>(file: &mut SealedFile<D>) -> Result<Option<(u64, Tip)>, Error> {
    let mut header = [0; HEADER_LEN];
    if file.read_at(&mut header, 0)? < HEADER_LEN {
        return Ok(None);
    }
    let [magic, cycle, check] = words(&header);
    if magic != MAGIC || check != mix(MAGIC, cycle) {
        return Ok(None);
    }
    let mut tip = Tip {
        end: HEADER_LEN as u64,
        check: cycle,
    };
    loop {
        let mut head = [0; HEADER_LEN];
        if file.read_at(&mut head, tip.end)? < HEADER_LEN {
            return Ok(Some((cycle, tip)));
        }
        let [len, nonce, check] = words(&head);
        if len == 0 || len > 10_000 || check != mix(mix(tip.check, nonce), len) {
            return Ok(Some((cycle, tip)));
        }
        let mut found = vec![0; len as usize];
        let read = file.read_at(&mut found, tip.end + HEADER_LEN as u64)?;
        if read < found.len() || found != body(check, len) {
            return Ok(Some((cycle, tip)));
        }
        tip = Tip {
            end: tip.end + HEADER_LEN as u64 + len,
            check,
        };
    }
}

fn words(bytes: &[u8; HEADER_LEN]) -> [u64; 3] {
    let (words, _) = bytes.as_chunks::<8>();
    [words[0], words[1], words[2]].map(u64::from_le_bytes)
}

fn body(check: u64, len: u64) -> Vec<u8> {
    Random::new(check).bytes(len as usize)
}

fn mix(a: u64, b: u64) -> u64 {
    Random::part(a, b).next()
}

const EMPTY: Tip = Tip { end: 0, check: 0 };
const HEADER_LEN: usize = 24;
const MAGIC: u64 = u64::from_le_bytes(*b"logtests");
