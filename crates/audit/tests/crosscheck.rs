//! A verifier in another language, written from `docs/format.md`, agrees about good and bad logs.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use cofferdam_audit::{Event, Sink};
use common::{log_of, open};

fn python(dir: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/crosscheck/audit.py");
    Command::new("python3")
        .arg(script)
        .arg(dir)
        .output()
        .expect("python3 is needed for this test")
}

#[test]
fn python_verifies_what_rust_wrote() {
    for count in [0_u64, 1, 2, 255, 256, 257, 700] {
        let (_temporary, dir) = log_of(count);
        let text: String = (0..0x180_u32).filter_map(char::from_u32).collect();
        let log = open(&dir);
        log.record(&Event {
            reason_code: Some(text),
            ..common::event(3)
        })
        .expect("recorded");
        let output = python(&dir);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{count}: {errors}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            (count + 1).to_string()
        );
    }
}

#[test]
fn python_refuses_what_was_changed() {
    let (_temporary, dir) = log_of(300);
    let names = common::files(&dir);
    for name in names
        .iter()
        .filter(|name| !["lock", "tail"].map(Path::new).contains(&name.as_path()))
    {
        let content = std::fs::read(dir.join(name)).expect("there");
        let mut changed = content.clone();
        changed[content.len() / 2] ^= 4;
        std::fs::write(dir.join(name), changed).expect("written");
        assert!(!python(&dir).status.success(), "{}", name.display());
        std::fs::write(dir.join(name), content).expect("written");
    }
    assert!(python(&dir).status.success());
}
