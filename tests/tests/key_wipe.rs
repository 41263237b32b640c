//! Keys of pages are nowhere in memory when their cipher is gone, also not on the stacks of threads that go on.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use cofferdam_cipher::{PageCipher, PageNumber, PageSize, SlotCount};
use cofferdam_keys::{DataKeys, FileId, PageKeyContext, Suite, UnixTime};
use cofferdam_tests::memory::{MASK, count, for_each_part};

/// The scan sees all threads, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn aes_keys_are_wiped() {
    keys_of_pages_are_wiped(Suite::One);
}

#[test]
fn chacha_keys_are_wiped() {
    keys_of_pages_are_wiped(Suite::Two);
}

#[test]
fn aegis_keys_are_wiped() {
    keys_of_pages_are_wiped(Suite::Three);
}

fn keys_of_pages_are_wiped(suite: Suite) {
    let _alone = ALONE.lock().unwrap();
    let keys = Arc::new(DataKeys::ephemeral(suite).unwrap());
    let file = FileId::random().unwrap();
    let outer = *suite.layers().last().unwrap();
    let context = |salt| PageKeyContext {
        layer: outer,
        algorithm: suite.algorithm(outer).unwrap(),
        store: keys.store_id(),
        file,
        dek_id: keys.active_dek(),
        salt,
    };
    let (to_worker, work) = mpsc::channel::<(PageCipher, PageCipher)>();
    let (to_us, done) = mpsc::channel();
    // A thread that seals and opens, and then rests on its stack.
    let worker = thread::spawn(move || {
        while let Ok((writer, reader)) = work.recv() {
            let mut frame = vec![0; writer.stride()];
            let mut page = vec![0; PAGE];
            for number in 0..20 {
                let number = PageNumber::new(number).unwrap();
                writer.seal(number, &[7; PAGE], &mut frame).unwrap();
                reader.open(number, &frame, &mut page).unwrap();
            }
            to_us.send((writer, reader, frame)).unwrap();
        }
    });
    let cipher = || {
        let size = PageSize::try_from(PAGE).unwrap();
        let slots = if suite.layer_count() == 2 {
            SlotCount::Two
        } else {
            SlotCount::One
        };
        PageCipher::new(keys.clone(), file, size, slots, clock).unwrap()
    };
    to_worker.send((cipher(), cipher())).unwrap();
    let (writer, reader, frame) = done.recv().unwrap();
    let slot = frame.len() - 64;
    let salt: [u8; 16] = frame[slot + 16..slot + 32].try_into().unwrap();
    let key = keys
        .dek(outer, keys.active_dek())
        .unwrap()
        .page_key(&context(salt));
    let needles = [key.expose().map(|byte| byte ^ MASK)];
    drop(key);
    assert!(
        in_memory(&needles) > 0,
        "the scan does not find a key that is in use"
    );
    drop((writer, reader));
    assert_eq!(in_memory(&needles), 0, "a key is left in memory");
    drop(to_worker);
    worker.join().unwrap();
}

fn in_memory(needles: &[[u8; 32]]) -> usize {
    let mut found = 0;
    for_each_part(|part| found += count(part, needles));
    found
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 0,
        nanos: 0,
    }
}

const PAGE: usize = 4096;
