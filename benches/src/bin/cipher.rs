//! Pages sealed and opened in memory, against the raw libraries and against copying.
//!
//! `cargo run --release -p cofferdam-benches --bin cipher [ROUNDS]`
//!
//! In each round every contender works through the same 256 KiB, one after the other, so that what
//! disturbs the machine disturbs all of them; a ratio is the median over the rounds. *raw* is the
//! library alone, in place, without randomness, checksum, slots or copying: AES-256-GCM, and for two
//! layers both ciphers back to back. 1.00 means that a page costs no more than its cipher.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aegis::aegis256x2::Aegis256X2;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use cofferdam_cipher::{PageCipher, PageNumber, PageSize, SlotCount};
use cofferdam_keys::{DataKeys, FileId, Suite, UnixTime};

fn main() {
    let rounds = std::env::args().nth(1).map_or(300, |text| {
        text.parse().expect("the argument is a number of rounds")
    });
    println!("seal / open, medians of {rounds} interleaved rounds over {SET_LEN} bytes");
    println!(
        "suite  page   raw GB/s       ours GB/s      ours : raw     single pages   memcpy GB/s"
    );
    let mut targets = Vec::new();
    for suite in Suite::ALL {
        for log2 in [12, 13, 14, 16] {
            let size = PageSize::from_log2(log2).expect("within 9 and 16");
            let result = Bench::new(suite, size).run(rounds);
            result.print(suite, size);
            if log2 == 13 {
                targets.push((suite, result));
            }
        }
    }
    print_targets(&targets);
}

/// Nanoseconds for the whole set, per round or as medians.
#[derive(Clone, Copy, Default)]
struct Times {
    copy: f64,
    raw_seal: f64,
    raw_open: f64,
    seal: f64,
    seal_single: f64,
    open: f64,
}

struct Outcome {
    medians: Times,
    seal_ratio: f64,
    single_ratio: f64,
    open_ratio: f64,
}

struct Bench {
    raw: Raw,
    cipher: PageCipher,
    size: usize,
    count: usize,
    plaintext: Vec<u8>,
    in_place: Vec<u8>,
    frames: Vec<u8>,
    opened: Vec<u8>,
}

impl Bench {
    fn new(suite: Suite, size: PageSize) -> Bench {
        let keys = Arc::new(DataKeys::ephemeral(suite).expect("randomness"));
        let slots = SlotCount::from_number(suite.layer_count() as u8).expect("one or two");
        let file = FileId::random().expect("randomness");
        let cipher = PageCipher::new(keys, file, size, slots, clock).expect("layers fit");
        let count = SET_LEN / size.bytes();
        Bench {
            raw: Raw::new(suite),
            size: size.bytes(),
            count,
            plaintext: (0..SET_LEN).map(|index| (index * 7) as u8).collect(),
            in_place: vec![1; SET_LEN],
            frames: vec![0; count * cipher.stride()],
            opened: vec![0; SET_LEN],
            cipher,
        }
    }

    fn run(mut self, rounds: usize) -> Outcome {
        for _ in 0..10 {
            self.round();
        }
        let all: Vec<Times> = (0..rounds).map(|_| self.round()).collect();
        assert!(self.opened == self.plaintext);
        Outcome {
            medians: Times {
                copy: median(&all, |times| times.copy),
                raw_seal: median(&all, |times| times.raw_seal),
                raw_open: median(&all, |times| times.raw_open),
                seal: median(&all, |times| times.seal),
                seal_single: median(&all, |times| times.seal_single),
                open: median(&all, |times| times.open),
            },
            seal_ratio: median(&all, |times| times.raw_seal / times.seal),
            single_ratio: median(&all, |times| times.raw_seal / times.seal_single),
            open_ratio: median(&all, |times| times.raw_open / times.open),
        }
    }

    fn round(&mut self) -> Times {
        let (size, stride) = (self.size, self.cipher.stride());
        let mut times = Times::default();
        let mut tags = [[[0; 16]; 2]; SET_LEN / 4096];
        times.raw_seal = nanos(|| {
            for (index, page) in self.in_place.chunks_exact_mut(size).enumerate() {
                tags[index] = self.raw.seal(index as u8, page);
            }
        });
        times.seal = nanos(|| {
            self.cipher
                .seal(PageNumber::ZERO, &self.plaintext, &mut self.frames)
                .expect("sealed");
        });
        times.raw_open = nanos(|| {
            for (index, page) in self.in_place.chunks_exact_mut(size).enumerate() {
                self.raw.open(index as u8, page, &tags[index]);
            }
        });
        times.open = nanos(|| {
            for index in 0..self.count {
                let page = PageNumber::new(index as u64).expect("small");
                let frame = &self.frames[index * stride..][..stride];
                let opened = &mut self.opened[index * size..][..size];
                self.cipher.open(page, frame, opened).expect("opened");
            }
        });
        times.copy = nanos(|| {
            for index in 0..self.count {
                let page = &self.plaintext[index * size..][..size];
                black_box(&mut self.frames[index * stride..][..size]).copy_from_slice(page);
            }
        });
        times.seal_single = nanos(|| {
            for index in 0..self.count {
                let page = &self.plaintext[index * size..][..size];
                let frame = &mut self.frames[index * stride..][..stride];
                self.cipher
                    .seal(PageNumber::ZERO, page, frame)
                    .expect("sealed");
            }
        });
        times
    }
}

/// The ciphers alone.
struct Raw {
    gcm: LessSafeKey,
    chacha: ChaCha20Poly1305,
    suite: Suite,
}

impl Raw {
    fn new(suite: Suite) -> Raw {
        let key = UnboundKey::new(&AES_256_GCM, &[3; 32]).expect("32 bytes");
        Raw {
            gcm: LessSafeKey::new(key),
            chacha: ChaCha20Poly1305::new(&[4; 32].into()),
            suite,
        }
    }

    fn seal(&self, nonce: u8, page: &mut [u8]) -> [[u8; 16]; 2] {
        let gcm_nonce = Nonce::assume_unique_for_key([nonce; 12]);
        let inner = self
            .gcm
            .seal_in_place_separate_tag(gcm_nonce, Aad::from(&AAD), page)
            .expect("sealed");
        let outer = match self.suite {
            Suite::One => [0; 16],
            Suite::Two => self
                .chacha
                .encrypt_inout_detached(&[nonce; 12].into(), &AAD, InOutBuf::from(page))
                .expect("sealed")
                .into(),
            Suite::Three => {
                Aegis256X2::<16>::new(&[5; 32], &[nonce; 32]).encrypt_in_place(page, &AAD)
            }
        };
        [inner.as_ref().try_into().expect("16 bytes"), outer]
    }

    fn open(&self, nonce: u8, page: &mut [u8], [inner, outer]: &[[u8; 16]; 2]) {
        match self.suite {
            Suite::One => {}
            Suite::Two => {
                let nonce = [nonce; 12].into();
                let page = InOutBuf::from(&mut *page);
                self.chacha
                    .decrypt_inout_detached(&nonce, &AAD, page, outer.into())
                    .expect("opened");
            }
            Suite::Three => Aegis256X2::<16>::new(&[5; 32], &[nonce; 32])
                .decrypt_in_place(page, outer, &AAD)
                .expect("opened"),
        }
        let nonce = Nonce::assume_unique_for_key([nonce; 12]);
        self.gcm
            .open_in_place_separate_tag(nonce, Aad::from(&AAD), inner, page)
            .expect("opened");
    }
}

impl Outcome {
    fn print(&self, suite: Suite, size: PageSize) {
        let m = &self.medians;
        println!(
            "{:5}  {:2}K  {:6.2}/{:6.2}  {:6.2}/{:6.2}  {:6.3}/{:6.3}   seal {:6.3}   {:7.1}",
            suite.number(),
            size.bytes() / 1024,
            rate(m.raw_seal),
            rate(m.raw_open),
            rate(m.seal),
            rate(m.open),
            self.seal_ratio,
            self.open_ratio,
            self.single_ratio,
            rate(m.copy),
        );
    }
}

fn print_targets(results: &[(Suite, Outcome)]) {
    println!("\ntargets at 8 KiB, the slower of seal and open");
    for (suite, outcome) in results {
        let ratio = outcome.seal_ratio.min(outcome.open_ratio);
        let speed = rate(outcome.medians.seal.max(outcome.medians.open));
        let (name, value, target) = match suite {
            Suite::One => ("of the raw library", ratio, 0.85),
            Suite::Two => ("GB/s", speed, 1.8),
            Suite::Three => ("GB/s", speed, 6.0),
        };
        let verdict = if value >= target { "met" } else { "MISSED" };
        println!(
            "suite {}: {value:.2} {name}, target {target:.2}: {verdict}",
            suite.number()
        );
    }
}

fn rate(nanos: f64) -> f64 {
    SET_LEN as f64 / nanos
}

fn nanos(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

fn median(all: &[Times], of: impl Fn(&Times) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn clock() -> UnixTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    UnixTime {
        seconds: since.as_secs(),
        nanos: since.subsec_nanos(),
    }
}

const SET_LEN: usize = 256 * 1024;
const AAD: [u8; 64] = [9; 64];
