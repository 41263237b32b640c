//! Seeded randomness for tests: the same seed gives the same run.

/// A small generator (SplitMix64). It has nothing to do with keys and must never touch one.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that always says the same for one seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator for one part of a run, so that parts replay independently of each other.
    pub fn part(seed: u64, part: u64) -> Random {
        let mut random = Random(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        random
    }

    /// The next 64 bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless stream has no None"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below 0");
        self.next() % end
    }

    /// An index into something with `count` entries.
    ///
    /// # Panics
    /// When `count` is 0.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the entries.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, entries: &'a [T]) -> &'a T {
        &entries[self.index(entries.len())]
    }

    /// Puts the entries in any order.
    pub fn shuffle<T>(&mut self, entries: &mut [T]) {
        for last in (1..entries.len()).rev() {
            entries.swap(last, self.index(last + 1));
        }
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// The seed of this run: `COFFERDAM_SEED`, or one from the clock. Tests print it.
///
/// # Panics
/// When the variable is not a number.
pub fn seed() -> u64 {
    number("COFFERDAM_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the clock stands after 1970");
        Random::new(now.as_nanos() as u64).next() >> 16
    })
}

/// A number from the environment, or nothing when the variable is not set.
///
/// # Panics
/// When the variable is not a number.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
    )
}
