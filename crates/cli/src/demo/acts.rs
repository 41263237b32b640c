//! The acts of the story, in their order.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_keys::{Layer, VaultSet};
use cofferdam_sealed_file::{FileKind, Geometry, scrub};
use cofferdam_sqlite::{Snapshot, seal, unseal};
use cofferdam_wiring::Pin;

use super::data::{self, Subject, quoted};
use super::stage::{Stage, ask, contains, files, read, sha256};
use super::telling::Telling;
use super::{records, revocation};
use crate::failure::{Exit, Failure};
use crate::output::{hex, size};
use crate::progress::Progress;
use crate::store;

/// All of them.
pub(super) fn all(
    stage: &mut Stage,
    telling: &mut Telling,
    input: Option<&Path>,
) -> Result<(), Failure> {
    make_keys(stage, telling)?;
    let subject = open_book(stage, telling, input)?;
    seal_it(stage, telling)?;
    note_the_pin(stage, telling)?;
    nothing_to_read(stage, telling, &subject)?;
    ask_it(stage, telling, &subject, input.is_none())?;
    flip_a_bit(stage, telling, &subject)?;
    let old = rotate(stage, telling)?;
    put_back(stage, telling, &old)?;
    revocation::live(stage, telling)?;
    bring_back(stage, telling)?;
    records::audit(stage, telling)?;
    records::compare(stage, telling)
}

fn make_keys(stage: &Stage, telling: &mut Telling) -> Result<(), Failure> {
    telling.step("Two vaults, two authorities: a key for the customer, one for the infrastructure");
    telling.show(
        "an emulator in this process stands in for Azure Key Vault, over HTTPS on loopback; it is no HSM",
    );
    let cloud = &stage.cloud;
    for (whose, key, kind) in [
        (&cloud.customer, &stage.customer, "RSA-3072"),
        (&cloud.infrastructure, &stage.infrastructure, "AES-256"),
    ] {
        cloud.add_version(whose)?;
        let described = stage.opener()?.vaults.vault(key)?.describe()?;
        telling.check(
            described.kind == kind,
            &format!("{key}, {}", described.kind),
        );
    }
    let mut settings = stage.settings.clone();
    settings.azure.infrastructure = cloud.login(&cloud.customer);
    let denied = settings.vaults().vault(&stage.infrastructure)?.describe();
    telling.check(
        denied.as_ref().is_err_and(|refusal| {
            refusal.reason
                == cofferdam_keys::Reason::Revoked(cofferdam_keys::Revocation::Permission)
        }),
        "the customer's identity may not even look at the infrastructure's key",
    );
    telling.meaning("each key is in other hands; neither alone opens the data");
    Ok(())
}

fn open_book(
    stage: &Stage,
    telling: &mut Telling,
    input: Option<&Path>,
) -> Result<Subject, Failure> {
    telling.step("A plain SQLite database with real data");
    let path = stage.plain_path();
    let subject = data::build(&path, input)?;
    let bytes = read(&path)?;
    telling.check(
        subject.rows > 0,
        &format!("{}, {}", subject.what, size(bytes.len() as u64)),
    );
    telling.check(
        contains(&bytes, &subject.needle),
        &format!("grep finds {:?} in the file", subject.needle),
    );
    telling.meaning("whoever gets the disk, a backup or a snapshot of it reads everything");
    Ok(subject)
}

fn seal_it(stage: &Stage, telling: &mut Telling) -> Result<(), Failure> {
    telling.step("Sealed: AES-256-GCM within ChaCha20-Poly1305, from two libraries");
    let plain = read(&stage.plain_path())?;
    let snapshot = Snapshot::of_plain(&stage.plain_path())?;
    let mut progress = Progress::interruptible("sealing");
    let opener = stage.opener()?;
    let copy = seal(
        &snapshot,
        &opener,
        &stage.sealed_path(),
        None,
        &mut |d, t| progress.at(d, t),
    )?;
    let sum = copy.sha256();
    copy.publish()?;
    telling.check(
        sum[..] == sha256(&plain)[..],
        &format!("sealed, read back and equal: sha256 {}…", &hex(&sum)[..16]),
    );
    telling.check(
        sha256(&read(&stage.plain_path())?) == sha256(&plain),
        "the source is as it was",
    );
    let (before, after) = (plain.len() as u64, read(&stage.sealed_path())?.len() as u64);
    telling.show(&format!("{} became {}", size(before), size(after)));
    telling.meaning("one command, and a copy that appears only when it is complete");
    Ok(())
}

fn note_the_pin(stage: &mut Stage, telling: &mut Telling) -> Result<(), Failure> {
    telling.step("The pin: anyone can wrap under an RSA key who has its public half");
    let path = stage.sealed_path();
    let pins = store::pins(&path)?;
    telling.check(
        pins.len() == 1,
        &format!(
            "noted at the sealing: COFFERDAM_PIN={}",
            pins.first().map_or("", String::as_str)
        ),
    );
    let refused = stage.opener()?.open_main(&path).map(drop);
    let refused = refused.map_err(Failure::from);
    telling.check(
        refused.as_ref().is_err_and(|failure| {
            failure.exit == Exit::Key && failure.text.contains("COFFERDAM_PIN")
        }),
        "without it, the database is refused",
    );
    stage.settings.set("pin", &pins.join(","))?;
    stage.opener()?.open_main(&path)?;
    telling.check(
        matches!(stage.settings.pin, Pin::These(_)),
        "with it, it opens",
    );
    stage.start_application()?;
    telling.meaning("nobody puts a database of their own in the place of yours");
    Ok(())
}

fn nothing_to_read(stage: &Stage, telling: &mut Telling, subject: &Subject) -> Result<(), Failure> {
    telling.step("The same search in every sealed byte");
    let mut places = vec![stage.sealed_path()];
    places.extend(files(&stage.log_dir()).map_err(Failure::io(&stage.log_dir()))?);
    for needle in [subject.needle.as_str(), "SQLite format 3"] {
        let mut found = false;
        for path in &places {
            found |= contains(&read(path)?, needle);
        }
        telling.check(
            !found,
            &format!("grep finds no {needle:?} in {} files", places.len()),
        );
    }
    telling.meaning(
        "a stolen disk or backup is noise; log, journal and temporary files are sealed too",
    );
    Ok(())
}

fn ask_it(
    stage: &Stage,
    telling: &mut Telling,
    subject: &Subject,
    zones: bool,
) -> Result<(), Failure> {
    telling.step("SQLite works as ever: the application opens the database through us");
    let connection = stage.open()?;
    let ok: String = ask(|| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))?;
    telling.check(ok == "ok", "PRAGMA integrity_check: ok");
    if zones {
        let (sql, expected) = ODD_CLOCKS;
        telling.show(sql);
        let found = ask(|| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(format!(
                    "{} {}",
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?
                ))
            })?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        telling.check(found == expected, &found.join(", "));
    }
    let sql = format!("SELECT count(*) FROM {}", quoted(&subject.table));
    let count: i64 = ask(|| connection.query_row(&sql, [], |row| row.get(0)))?;
    telling.check(count > 0, &format!("{sql}: {count}"));
    telling.meaning(
        "no change to your SQL; a program without our layer sees \"file is not a database\"",
    );
    Ok(())
}

fn flip_a_bit(stage: &Stage, telling: &mut Telling, subject: &Subject) -> Result<(), Failure> {
    telling.step("Somebody flips one bit on the disk");
    let path = stage.sealed_path();
    let (page, offset) = a_page_of(stage, &subject.table)?;
    flip(&path, offset)?;
    let sql = format!("SELECT * FROM {} NOT INDEXED", quoted(&subject.table));
    let refused = count_rows(stage, &sql);
    let told = refused.as_ref().err().map(ToString::to_string);
    telling.check(
        told.as_ref()
            .is_some_and(|text| text.contains(&format!("page {page} "))),
        &format!("refused: {}", told.as_deref().unwrap_or("it was NOT")),
    );
    if let Some(other) = &subject.other_table {
        let rows = count_rows(stage, &format!("SELECT * FROM {}", quoted(other)))?;
        telling.check(
            rows > 0,
            &format!("table {other} still gives its {rows} rows"),
        );
    }
    let (_, mut file) = stage.opener()?.open_main(&path)?;
    let found = scrub(&mut file, |_, _| {})?;
    let bad: Vec<u64> = found.bad.iter().map(|page| page.as_u64()).collect();
    telling.check(
        bad == [page],
        &format!(
            "a scrub of all {} pages names page {bad:?} alone",
            found.pages
        ),
    );
    flip(&path, offset)?;
    let rows = count_rows(stage, &sql)?;
    telling.check(
        rows > 0,
        &format!("the bit put back, the table gives its {rows} rows"),
    );
    telling.meaning("what was altered is an error, never data, and harms one page alone");
    Ok(())
}

/// A page in the middle of a table, and where it lies on the disk.
fn a_page_of(stage: &Stage, table: &str) -> Result<(u64, u64), Failure> {
    let connection = stage.open()?;
    let pages: Vec<u32> = ask(|| {
        let sql = "SELECT pageno FROM dbstat WHERE name = ?1 ORDER BY pageno";
        let mut statement = connection.prepare(sql)?;
        statement.query_map([table], |row| row.get(0))?.collect()
    })?;
    let bytes: u32 = ask(|| connection.query_row("PRAGMA page_size", [], |row| row.get(0)))?;
    drop(connection);
    // The first page of a small table may be the schema's as well.
    let number = pages.get(pages.len() / 2).copied().unwrap_or(1).max(2) - 1;
    let (_, file) = stage.opener()?.open_main(&stage.sealed_path())?;
    let sealed = file
        .page_size()
        .ok_or_else(|| Failure::refused("the sealed database has no pages"))?;
    let page = u64::from(number) * u64::from(bytes) / sealed.bytes() as u64;
    let geometry = Geometry::new(FileKind::Main, sealed, file.slot_count());
    let place = cofferdam_cipher::PageNumber::new(page)
        .ok_or_else(|| Failure::refused("a page number out of range"))?;
    Ok((page, geometry.frame_offset(place) + 99))
}

pub(super) fn flip(path: &Path, offset: u64) -> Result<(), Failure> {
    let io = |error| Failure::io(path)(error);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).map_err(io)?;
    file.write_all_at(&[byte[0] ^ 0x10], offset).map_err(io)
}

fn count_rows(stage: &Stage, sql: &str) -> Result<u64, Failure> {
    let connection = stage.open()?;
    ask(|| {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.raw_query();
        let mut count = 0;
        while rows.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    })
}

/// Answers the bytes of the database from before.
fn rotate(stage: &Stage, telling: &mut Telling) -> Result<Vec<u8>, Failure> {
    telling
        .step("The customer rotates their key in the vault; the running program follows by itself");
    let path = stage.sealed_path();
    let before = read(&path)?;
    let first = version_in_use(stage)?;
    let program = stage.open()?;
    let read_once = || {
        ask(|| {
            program.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
                row.get::<_, i64>(0)
            })
        })
    };
    read_once()?;
    let started = Instant::now();
    let second = stage.cloud.add_version(&stage.cloud.customer)?;
    while version_in_use(stage)? != second && started.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    telling.check(
        version_in_use(stage)? == second,
        &format!(
            "{:.0} ms later the root is wrapped under version {}… instead of {}…",
            started.elapsed().as_secs_f64() * 1e3,
            &second[..8],
            &first[..8]
        ),
    );
    let after = read(&path)?;
    telling.check(
        before[KEYRING_LEN..] == after[KEYRING_LEN..],
        &format!(
            "not one byte of the {} behind the keyring changed",
            size((after.len() - KEYRING_LEN) as u64)
        ),
    );
    let cloud = &stage.cloud;
    cloud.enable(&cloud.customer, Some(&first), false)?;
    let served = read_once().and(count_rows(stage, "SELECT * FROM sqlite_schema"))?;
    telling.check(
        served > 0,
        "the old version is disabled: the program reads on, and another opening needs the new one alone",
    );
    cloud.enable(&cloud.customer, Some(&first), true)?;
    telling.meaning(
        "a rotation is one wrap, whatever the size of the database, and nobody restarts anything",
    );
    Ok(before)
}

/// The version that wraps the customer's root, as the file says.
fn version_in_use(stage: &Stage) -> Result<String, Failure> {
    let slots = store::slots(&stage.sealed_path())?;
    let candidates = slots.candidates();
    let wraps = candidates.first().map(|(_, keyring)| keyring.wraps());
    wraps
        .unwrap_or_default()
        .iter()
        .find(|wrap| wrap.layer == Layer::Customer)
        .map(|wrap| wrap.wrapped.version.to_string())
        .ok_or_else(|| Failure::refused("the sealed database has no customer's layer"))
}

fn put_back(stage: &Stage, telling: &mut Telling, old: &[u8]) -> Result<(), Failure> {
    telling.step("Somebody puts the copy from before the rotation back");
    let path = stage.sealed_path();
    let current = read(&path)?;
    let write = |bytes: &[u8]| fs::write(&path, bytes).map_err(Failure::io(&path));
    write(old)?;
    let refused = count_rows(stage, "SELECT * FROM sqlite_schema");
    write(&current)?;
    telling.check(
        refused
            .as_ref()
            .err()
            .is_some_and(|error| error.text.contains("old copy")),
        &told(&refused),
    );
    telling.meaning(
        "an old state is not served silently; a restore on purpose is one command, and on record",
    );
    Ok(())
}

fn told(refused: &Result<u64, Failure>) -> String {
    match refused {
        Ok(_) => "it was served".to_owned(),
        Err(failure) => format!("refused: {failure}"),
    }
}

fn bring_back(stage: &Stage, telling: &mut Telling) -> Result<(), Failure> {
    telling.step("And back: unsealed");
    let target = stage.dir().join("unsealed.db");
    let opener = stage.opener()?;
    let snapshot = Snapshot::of_sealed(stage.sealed()?, &stage.sealed_path())?;
    let mut progress = Progress::interruptible("unsealing");
    let copy = unseal(&snapshot, &target, &mut |done, total| {
        progress.at(done, total)
    })?;
    crate::commands::record_copy(&opener, &stage.sealed_path(), &target, &copy, "unsealed")?;
    copy.publish()?;
    let (before, after) = (read(&stage.plain_path())?, read(&target)?);
    telling.check(
        before == after,
        &format!(
            "byte for byte the database from step 2: sha256 {}…",
            &hex(&sha256(&after))[..16]
        ),
    );
    telling.meaning("you are not locked in; that it was done is in the log");
    Ok(())
}

const ODD_CLOCKS: (&str, [&str; 3]) = (
    "SELECT zone, offset FROM periods WHERE until IS NULL AND offset LIKE '%:45' ORDER BY zone",
    [
        "Asia/Kathmandu 5:45",
        "Australia/Eucla 8:45",
        "Pacific/Chatham 12:45",
    ],
);

/// Both slots of the keyring.
const KEYRING_LEN: usize = 2 * 16384;
/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
