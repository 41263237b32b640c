//! What a page cipher must do with pages and frames of any kind. Random tests print their seed; run
//! them again from it with `COFFERDAM_SEED`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_cipher::{
    OpenError, PageCipher, PageNumber, PageSize, SLOT_LEN, SealError, SetupError, SlotCount,
    crc_matches,
};
use cofferdam_keys::{DataKeys, DekId, FileId, StoreId, Suite, UnixTime, VectorLayer};

#[test]
fn every_page_comes_back_whatever_the_suite_size_and_number() {
    let mut random = Random::new();
    for suite in Suite::ALL {
        for log2 in 9..=16 {
            for &slots in slot_counts(suite) {
                let size = PageSize::from_log2(log2).unwrap();
                let store = Store::new(suite);
                let cipher = store.cipher(size, slots);
                let count = 1 + random.below(5);
                let first = page(random.next() % ((1 << 49) - 5));
                let pages = random.bytes(count * size.bytes());
                let mut frames = random.bytes(count * cipher.stride());
                cipher.seal(first, &pages, &mut frames).unwrap();
                // Another cipher of the same file opens them, too: no state is needed.
                let other = store.cipher(size, slots);
                for (index, frame) in frames.chunks(cipher.stride()).enumerate() {
                    let number = first.checked_add(index as u64).unwrap();
                    let expected = &pages[index * size.bytes()..][..size.bytes()];
                    let mut opened = random.bytes(size.bytes());
                    other.open(number, frame, &mut opened).unwrap();
                    assert!(opened == expected);
                    assert!(crc_matches(frame, slots));
                }
            }
        }
    }
}

#[test]
fn a_run_longer_than_a_batch_is_sealed_like_its_pages() {
    let cipher = Store::new(Suite::Two).cipher(SMALL, SlotCount::Two);
    for count in [63, 64, 65, 128, 129, 200] {
        let pages = vec![3; count * 512];
        let mut frames = vec![0; count * cipher.stride()];
        cipher.seal(page(1000), &pages, &mut frames).unwrap();
        for (index, frame) in frames.chunks(cipher.stride()).enumerate() {
            open(&cipher, 1000 + index as u64, frame).unwrap();
        }
    }
}

#[test]
fn every_bit_of_every_slot_and_bits_all_over_the_page_count() {
    let mut random = Random::new();
    for suite in Suite::ALL {
        for &slots in slot_counts(suite) {
            let store = Store::new(suite);
            let cipher = store.cipher(SMALL, slots);
            let mut frame = seal(&cipher, 9, &random.bytes(512));
            let checksum = 512 + (suite.layer_count() - 1) * SLOT_LEN + 60..;
            let checksum = checksum.start * 8..(checksum.start + 4) * 8;
            let slot_bits = 512 * 8..frame.len() * 8;
            let page_bits: Vec<usize> = (0..300).map(|_| random.below(512 * 8)).collect();
            for bit in slot_bits.chain(page_bits) {
                frame[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    !crc_matches(&frame, slots),
                    "{suite}, bit {bit}: the checksum fits"
                );
                let result = open(&cipher, 9, &frame);
                if checksum.contains(&bit) {
                    assert!(result.is_ok(), "a reader with keys relies on the tag alone");
                } else {
                    assert_eq!(result, refused(9), "{suite}, bit {bit}");
                }
                frame[bit / 8] ^= 1 << (bit % 8);
            }
            open(&cipher, 9, &frame).unwrap();
        }
    }
}

#[test]
fn a_page_opens_only_where_it_was_sealed() {
    for suite in Suite::ALL {
        let slots = slot_counts(suite)[0];
        let store = Store::new(suite);
        let cipher = store.cipher(SMALL, slots);
        let frame = seal(&cipher, 5, &[8; 512]);
        for number in [0, 4, 6, 5 + (1 << 32), 5 + (1 << 48)] {
            assert_eq!(open(&cipher, number, &frame), refused(number));
        }
        let mut other_file = store.clone();
        other_file.file = FileId::random().unwrap();
        assert_eq!(
            open(&other_file.cipher(SMALL, slots), 5, &frame),
            refused(5)
        );
        let mut other_store = store.clone();
        other_store.store = StoreId::random().unwrap();
        assert_eq!(
            open(&other_store.cipher(SMALL, slots), 5, &frame),
            refused(5)
        );
        let mut other_key = store.clone();
        other_key.deks[suite.layer_count() - 1][7] ^= 1;
        assert_eq!(open(&other_key.cipher(SMALL, slots), 5, &frame), refused(5));
    }
}

#[test]
fn swapped_frames_zeroed_frames_and_spliced_frames_are_refused() {
    for suite in Suite::ALL {
        let slots = slot_counts(suite)[0];
        let cipher = Store::new(suite).cipher(SMALL, slots);
        let stride = cipher.stride();
        let mut frames = vec![0; 2 * stride];
        cipher.seal(page(0), &[7; 1024], &mut frames).unwrap();
        let (first, second) = frames.split_at(stride);
        assert_eq!(open(&cipher, 1, first), refused(1));
        assert_eq!(open(&cipher, 0, second), refused(0));
        assert_eq!(open(&cipher, 0, &vec![0; stride]), refused(0));
        for cut in [16, 256, 512, 528, 544, 556, 571] {
            let spliced = [&first[..cut], &second[cut..]].concat();
            assert_eq!(open(&cipher, 0, &spliced), refused(0), "cut at {cut}");
            assert_eq!(open(&cipher, 1, &spliced), refused(1), "cut at {cut}");
        }
    }
}

#[test]
fn the_policy_decides_not_the_frame() {
    // The stores share store, file and keys; only the policy differs.
    let mut store = Store::new(Suite::One);
    for sealed_as in Suite::ALL {
        store.suite = sealed_as;
        let frame = seal(&store.cipher(SMALL, SlotCount::Two), 3, &[1; 512]);
        for read_as in Suite::ALL {
            store.suite = read_as;
            let result = open(&store.cipher(SMALL, SlotCount::Two), 3, &frame);
            let expected = if sealed_as == read_as {
                Ok(vec![1; 512])
            } else {
                refused(3)
            };
            assert_eq!(result, expected, "{sealed_as} read as {read_as}");
        }
    }
}

#[test]
fn a_higher_version_cannot_be_claimed() {
    for suite in Suite::ALL {
        let slots = slot_counts(suite)[0];
        let cipher = Store::new(suite).cipher(SMALL, slots);
        let mut frame = vec![0; cipher.stride()];
        cipher
            .seal_versioned(page(2), 40, &[6; 512], &mut frame)
            .unwrap();
        let mut opened = vec![0; 512];
        assert_eq!(cipher.open_versioned(page(2), &frame, &mut opened), Ok(40));
        assert_eq!(opened, [6; 512]);
        assert_eq!(open(&cipher, 2, &frame), refused(2));
        for slot in frame[512..].chunks_mut(SLOT_LEN) {
            slot[8] += 1;
        }
        let result = cipher.open_versioned(page(2), &frame, &mut opened);
        assert_eq!(result, Err(OpenError::Refused { page: page(2) }));
        assert_eq!(opened, [0; 512]);
    }
}

#[test]
fn nothing_is_sealed_twice_with_one_salt_and_iv() {
    for suite in Suite::ALL {
        let slots = slot_counts(suite)[0];
        let store = Store::new(suite);
        let cipher = store.cipher(SMALL, slots);
        let mut frames = vec![0; 300 * cipher.stride()];
        let mut seen = std::collections::HashSet::new();
        let mut salts = std::collections::HashSet::new();
        for _ in 0..3 {
            cipher.seal(page(0), &[0; 300 * 512], &mut frames).unwrap();
            for frame in frames.chunks(cipher.stride()) {
                let slot = &frame[frame.len() - SLOT_LEN..];
                salts.insert(slot[16..32].to_vec());
                assert!(seen.insert(slot[32..44].to_vec()));
            }
        }
        assert_eq!(salts.len(), 1, "one epoch");
        let frame = seal(&store.cipher(SMALL, slots), 0, &[0; 512]);
        let slot = &frame[frame.len() - SLOT_LEN..];
        assert!(
            salts.insert(slot[16..32].to_vec()),
            "another open, another salt"
        );
    }
}

#[test]
fn an_hour_and_a_clock_that_went_backwards_end_an_epoch() {
    static NOW: AtomicU64 = AtomicU64::new(1_000_000);
    fn now() -> UnixTime {
        let seconds = NOW.load(Ordering::Relaxed);
        UnixTime { seconds, nanos: 0 }
    }
    let store = Store::new(Suite::Two);
    let cipher = PageCipher::new(store.keys(), store.file, SMALL, SlotCount::Two, now).unwrap();
    let salts = |seconds: u64| {
        NOW.store(seconds, Ordering::Relaxed);
        let frame = seal(&cipher, 0, &[0; 512]);
        frame[512 + 64 + 16..][..16].to_vec()
    };
    let first = salts(1_000_000);
    assert!(salts(1_003_599) == first);
    let second = salts(1_003_600);
    assert!(second != first);
    assert!(salts(1_007_199) == second);
    assert!(salts(1_003_599) != second);
}

#[test]
fn after_two_to_the_sixteenth_failed_tags_nothing_is_opened() {
    let cipher = Store::new(Suite::One).cipher(SMALL, SlotCount::One);
    let frame = seal(&cipher, 0, &[1; 512]);
    // What is refused for its structure has tried no tag, and does not count.
    for _ in 0..100_000 {
        assert_eq!(open(&cipher, 0, &[0; 576]), refused(0));
    }
    for _ in 0..(1 << 16) - 1 {
        assert_eq!(open(&cipher, 1, &frame), refused(1));
    }
    open(&cipher, 0, &frame).unwrap();
    assert_eq!(open(&cipher, 1, &frame), refused(1));
    assert_eq!(open(&cipher, 0, &frame), Err(OpenError::Quarantined));
    // What is sealed is not in danger.
    seal(&cipher, 0, &[1; 512]);
}

#[test]
fn threads_seal_and_open_at_the_same_time() {
    for suite in Suite::ALL {
        let cipher = Store::new(suite).cipher(SMALL, SlotCount::Two);
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let cipher = &cipher;
                scope.spawn(move || {
                    for round in 0..200u64 {
                        let content = [thread ^ round as u8; 512];
                        let frame = seal(cipher, round, &content);
                        assert_eq!(open(cipher, round, &frame).unwrap(), content);
                        assert_eq!(open(cipher, round + 1, &frame), refused(round + 1));
                    }
                });
            }
        });
    }
}

#[test]
fn buffers_that_do_not_fit_are_the_callers_mistake() {
    let cipher = Store::new(Suite::One).cipher(SMALL, SlotCount::One);
    let mut frame = [0; 576];
    let misuse = |expected, found| Err(SealError::Misuse { expected, found });
    assert_eq!(cipher.seal(page(0), &[0; 511], &mut frame), misuse(0, 511));
    assert_eq!(
        cipher.seal(page(0), &[0; 1024], &mut frame),
        misuse(1152, 576)
    );
    assert_eq!(
        cipher.seal(page(0), &[0; 512], &mut frame[1..]),
        misuse(576, 575)
    );
    let last = PageNumber::MAX;
    assert_eq!(cipher.seal(last, &[0; 512], &mut frame), Ok(()));
    let beyond = cipher.seal(last, &[0; 1024], &mut [0; 1152]);
    assert_eq!(beyond, Err(SealError::PageNumber));

    let misuse = |expected, found| Err(OpenError::Misuse { expected, found });
    let mut opened = [1; 513];
    assert_eq!(cipher.open(last, &frame, &mut opened), misuse(512, 513));
    assert_eq!(opened, [0; 513]);
    assert_eq!(
        cipher.open(last, &frame[1..], &mut opened[1..]),
        misuse(576, 575)
    );
}

#[test]
fn two_layers_do_not_fit_in_one_slot() {
    let store = Store::new(Suite::Three);
    let result = PageCipher::new(store.keys(), store.file, SMALL, SlotCount::One, clock);
    let expected = SetupError::SlotCount {
        layers: 2,
        slots: 1,
    };
    assert_eq!(result.err(), Some(expected));
}

#[test]
fn a_checksum_needs_a_frame_with_slots() {
    assert!(!crc_matches(&[], SlotCount::One));
    assert!(!crc_matches(&[0; 64], SlotCount::One));
    assert!(!crc_matches(&[0; 128], SlotCount::Two));
    assert!(!crc_matches(&[0; 640], SlotCount::Two));
}

/// Everything that names a file and its keys.
#[derive(Clone)]
struct Store {
    suite: Suite,
    store: StoreId,
    file: FileId,
    deks: [[u8; 32]; 2],
}

impl Store {
    fn new(suite: Suite) -> Store {
        Store {
            suite,
            store: StoreId::random().unwrap(),
            file: FileId::random().unwrap(),
            deks: [[0x11; 32], [0x22; 32]],
        }
    }

    fn keys(&self) -> Arc<DataKeys> {
        let deks = self.deks.iter().take(self.suite.layer_count());
        let layers = deks.map(|&key| VectorLayer {
            root: [0; 32],
            deks: vec![(DekId::FIRST, key)],
        });
        let layers: Vec<_> = layers.collect();
        Arc::new(DataKeys::from_vectors(
            self.store,
            self.suite,
            DekId::FIRST,
            &layers,
        ))
    }

    fn cipher(&self, size: PageSize, slots: SlotCount) -> PageCipher {
        PageCipher::new(self.keys(), self.file, size, slots, clock).unwrap()
    }
}

fn slot_counts(suite: Suite) -> &'static [SlotCount] {
    match suite {
        Suite::One => &[SlotCount::One, SlotCount::Two],
        _ => &[SlotCount::Two],
    }
}

fn seal(cipher: &PageCipher, number: u64, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xcc; cipher.stride()];
    cipher.seal(page(number), content, &mut frame).unwrap();
    frame
}

fn open(cipher: &PageCipher, number: u64, frame: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut opened = vec![0xdd; cipher.page_size().bytes()];
    let result = cipher.open(page(number), frame, &mut opened);
    if result.is_err() {
        assert!(opened.iter().all(|&byte| byte == 0), "nothing is released");
    }
    result.map(|()| opened)
}

fn refused(number: u64) -> Result<Vec<u8>, OpenError> {
    Err(OpenError::Refused { page: page(number) })
}

fn page(number: u64) -> PageNumber {
    PageNumber::new(number).unwrap()
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

/// SplitMix64: repeatable, and good enough to choose what to test.
struct Random(u64);

impl Random {
    #[expect(
        clippy::disallowed_methods,
        reason = "a seed is given or taken from the time"
    )]
    fn new() -> Random {
        let seed = std::env::var("COFFERDAM_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.unwrap().as_nanos() as u64
        });
        println!("COFFERDAM_SEED={seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

const SMALL: PageSize = PageSize::from_log2(9).unwrap();
