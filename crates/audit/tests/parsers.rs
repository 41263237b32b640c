//! No bytes from outside make a parser panic, and what it accepts it writes the same way.
//! The fuzz targets `fuzz/fuzz_targets/audit_*.rs` ask the same questions with better bytes.

mod common;

use cofferdam_audit::{
    Checkpoint, ConsistencyProof, LogReader, LoggedEvent, Proof, VerifierKey, bundle_entries,
    prove, prove_consistency,
};
use common::{ORIGIN, SEED, log_of};
use proptest::prelude::*;

fn key() -> VerifierKey {
    VerifierKey::from_seed(ORIGIN, &SEED).expect("a key")
}

/// Genuine texts of each kind, to be damaged.
fn genuine() -> Vec<Vec<u8>> {
    let (_temporary, dir) = log_of(5);
    let mut reader = LogReader::open(&dir, &key()).expect("opens");
    vec![
        reader.entry(3).expect("there"),
        reader.checkpoint().note().to_vec(),
        key().to_string().into_bytes(),
        prove(&dir, &key(), 2).expect("proved").to_text(),
        prove_consistency(&dir, &key(), 3)
            .expect("proved")
            .to_text(),
        std::fs::read(dir.join("tile/entries/000.p/5")).expect("there"),
    ]
}

fn ask_all(bytes: &[u8]) {
    if let Ok(event) = LoggedEvent::parse(bytes) {
        assert_eq!(event.to_json(), bytes);
    }
    if let Ok(checkpoint) = Checkpoint::open(bytes, &key()) {
        assert_eq!(checkpoint.note(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(key) = VerifierKey::parse(text)
    {
        assert_eq!(key.to_string(), text.trim_end_matches('\n'));
    }
    if let Ok(proof) = Proof::parse(bytes) {
        assert_eq!(proof.to_text(), bytes);
        let _ = proof.verify(&key(), bytes);
    }
    if let Ok(proof) = ConsistencyProof::parse(bytes) {
        assert_eq!(proof.to_text(), bytes);
    }
    if let Some(entries) = bundle_entries(bytes) {
        assert_eq!(
            entries.iter().map(|entry| entry.len() + 2).sum::<usize>(),
            bytes.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        ask_all(&bytes);
    }

    #[test]
    fn random_text(text in "[-{}\":,0-9a-zA-Z+/=\n\\\\ —]{0,300}") {
        ask_all(text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_texts(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for text in genuine() {
            ask_all(&text);
            ask_all(&text[..cut.index(text.len())]);
            for (place, byte) in &places {
                let mut changed = text.clone();
                changed[place.index(text.len())] = *byte;
                ask_all(&changed);
                changed.insert(place.index(text.len()), *byte);
                ask_all(&changed);
            }
        }
    }
}

#[test]
fn the_second_encoding_of_an_event_is_refused() {
    let entry = String::from_utf8(genuine().remove(0)).expect("text");
    LoggedEvent::parse(entry.as_bytes()).expect("the first one");
    let wrong = [
        entry.replace(":3,", ": 3,"),
        entry.replace("\"seq\":3", "\"seq\":3.0"),
        entry.replace("\"seq\":3", "\"seq\":03"),
        entry.replace("\"seq\":3", "\"seq\":3,\"seq\":3"),
        entry.replace("\"seq\":3", "\"seq\":3,\"what\":1"),
        entry.replace("\"seq\":3", "\"seq\":-3"),
        entry.replace("\"seq\":3", "\"seq\":null"),
        entry.replace("success", "s\\u0075ccess"),
        entry.replace("key.rewrap", "key.unheard"),
        entry.replace("\"category\":\"key\"", "\"category\":\"use\""),
        entry.replace("\"category\":\"key\",", ""),
        entry.replace("\"schema_version\":1", "\"schema_version\":2"),
        entry.replace("\"actor\":{", "\"actor\":{\"secret\":\"x\","),
        entry.replace("2026-", "1926-"),
        format!("{entry}\n"),
        format!("[{entry}]"),
        "[".repeat(10_000),
    ];
    for wrong in wrong {
        assert_ne!(wrong, entry);
        assert!(LoggedEvent::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn proofs_are_read_in_their_one_form() {
    let texts = genuine();
    let text = String::from_utf8(texts[3].clone()).expect("text");
    let wrong = [
        text.replace("index 2", "index 02"),
        text.replace("index 2", "index +2"),
        text.replace("@v1", "@v2"),
        text.replace("=\n\n", "=\n"),
        text.replace("index 2\n", "extra eA==\nindex 2\n"),
        text.replace("=\n\n", "\n\n"),
    ];
    for wrong in wrong {
        assert!(Proof::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
