//! Refusals that nobody could sign for.
//!
//! The key of a store's log comes from the store's root. Whoever is refused the root cannot sign that they were refused,
//! so they leave a line in a side file, as anybody could who can write there. The next opening that succeeds takes the
//! lines over into the log, where they stay marked as what they are: unsigned until then.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::action::{Action, Outcome};
use crate::entry::{EventId, LoggedEvent};
use crate::error::AuditError;
use crate::event::{Event, Justification};
use crate::log::{AuditLog, io};
use crate::time::UnixTime;

/// The side file of a log: at most a mebibyte of refusals, and as much of older ones.
pub struct Refusals {
    dir: PathBuf,
}

impl Refusals {
    /// Of the log in `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Refusals {
        Refusals {
            dir: dir.to_owned(),
        }
    }

    /// Leaves a line about a refusal. Its action and outcome are what they are: denied.
    ///
    /// # Errors
    /// The line is longer than 8 KiB, or the disk refused.
    pub fn observe(&self, event: &Event, time: UnixTime) -> Result<(), AuditError> {
        let event = Event {
            action: Action::AccessDenied,
            outcome: Outcome::Denied,
            ..event.clone()
        };
        let mut line = LoggedEvent::new(0, EventId::random(time)?, time, event).encode()?;
        if line.len() > LINE_LEN_MAX {
            return Err(AuditError::EventTooLarge { len: line.len() });
        }
        line.push(b'\n');
        let mut file = self.locked()?;
        let len = file.metadata().map_err(io("look at", FILE))?.len();
        if len + line.len() as u64 > FILE_LEN_MAX {
            let bytes = read(&mut file).map_err(io("read", FILE))?;
            std::fs::write(self.dir.join(OLD), bytes).map_err(io("write", OLD))?;
            file.set_len(0).map_err(io("empty", FILE))?;
        }
        // In append mode, and in one write: lines of processes do not mix.
        file.write_all(&line).map_err(io("write", FILE))
    }

    /// Whether there is anything to take over.
    #[must_use]
    pub fn any(&self) -> bool {
        [FILE, OLD].iter().any(|name| {
            let found = std::fs::metadata(self.dir.join(name));
            found.is_ok_and(|found| found.len() > 0)
        })
    }

    /// Takes the lines over into the log and empties the file: one event for refusals that differ in time and
    /// process alone, marked by the justification `unsigned`. What is no refusal, or too much, is counted in an `audit.gap`.
    /// Returns how many refusals that were. A crash in the middle may take them over twice, but loses none.
    ///
    /// # Errors
    /// The log's, or the disk refused; the lines stay where they are then.
    pub fn adopt(&self, log: &AuditLog) -> Result<u64, AuditError> {
        let mut file = self.locked()?;
        let mut bytes = match File::open(self.dir.join(OLD)) {
            Ok(mut old) => read(&mut old).map_err(io("read", OLD))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io("open", OLD)(error)),
        };
        bytes.extend(read(&mut file).map_err(io("read", FILE))?);
        let (events, count) = together(&bytes);
        log.record_all(&events)?;
        match std::fs::remove_file(self.dir.join(OLD)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove", OLD)(error));
            }
            _ => {}
        }
        file.set_len(0).map_err(io("empty", FILE))?;
        Ok(count)
    }

    /// The file, which is never renamed, so that its lock holds everybody.
    fn locked(&self) -> Result<File, AuditError> {
        let mut options = File::options();
        let file = options.read(true).append(true).create(true);
        let file = file.open(self.dir.join(FILE)).map_err(io("open", FILE))?;
        crate::lock::take(&file, || file.metadata().map(|it| it.len()).ok())
            .map_err(io("lock", FILE))?;
        Ok(file)
    }
}

fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(FILE_LEN_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Refusals that differ in time and process alone: a service that is started again and again is one.
struct Group {
    event: Event,
    /// The process, if it was one.
    pid: Option<u32>,
    first: UnixTime,
    last: UnixTime,
    count: u64,
}

fn together(bytes: &[u8]) -> (Vec<Event>, u64) {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut lost = 0;
    for line in bytes.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()) {
        let Some((time, event)) = refusal(line) else {
            lost += 1;
            continue;
        };
        let (event, pid) = without_pid(event);
        let text = format!("{event:?}");
        let next = groups.len();
        match known.get(&text).and_then(|&at| groups.get_mut(at)) {
            Some(group) => {
                group.first = group.first.min(time);
                group.last = group.last.max(time);
                group.count += 1;
                group.pid = group.pid.filter(|known| Some(*known) == pid);
            }
            None if next < GROUPS_MAX => {
                known.insert(text, next);
                groups.push(Group {
                    event,
                    pid,
                    first: time,
                    last: time,
                    count: 1,
                });
            }
            None => lost += 1,
        }
    }
    let count = groups.iter().map(|group| group.count).sum();
    let mut events: Vec<Event> = groups.into_iter().map(Group::adopted).collect();
    if lost > 0 {
        let gap = Event::new(Action::AuditGap, Outcome::Error);
        events.push(gap.with_reason("refusals").with_count(lost));
    }
    (events, count)
}

impl Group {
    fn adopted(self) -> Event {
        let (first, last) = (self.first, self.last);
        let mut event = self.event;
        if let Some(source) = &mut event.source {
            source.pid = self.pid;
        }
        let event = event.with_justification(Justification {
            code: Some("unsigned".into()),
            text: Some(format!(
                "observed from {first} to {last} by a process that could not sign"
            )),
            ticket: None,
        });
        match self.count {
            1 => event,
            count => event.with_count(count),
        }
    }
}

/// What the line says, as far as an unsigned line may: that somebody was refused, and nothing that moves an anchor.
fn refusal(line: &[u8]) -> Option<(UnixTime, Event)> {
    let logged = LoggedEvent::parse(line).ok()?;
    let mut event = logged.event;
    if line.len() > LINE_LEN_MAX
        || event.action != Action::AccessDenied
        || event.outcome != Outcome::Denied
        || event.count.is_some()
    {
        return None;
    }
    if let Some(object) = &mut event.object {
        object.keyring_sequence = None;
    }
    event.justification = None;
    Some((logged.time, event))
}

fn without_pid(mut event: Event) -> (Event, Option<u32>) {
    let pid = event.source.as_mut().and_then(|source| source.pid.take());
    (event, pid)
}

const FILE: &str = "refused.jsonl";
const OLD: &str = "refused.jsonl.old";
const FILE_LEN_MAX: u64 = 1 << 20;
/// With room for the justification below the limit of an event.
const LINE_LEN_MAX: usize = 8 << 10;
const GROUPS_MAX: usize = 256;
