//! The closed list of suites (format section 1).

use std::fmt;

/// One of the two walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Layer {
    /// The inner layer: its key is the customer's.
    Customer = 1,
    /// The outer layer: its key is under another authority.
    Infrastructure = 2,
}

impl Layer {
    /// The number on disk and in every derivation.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The layer with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Customer),
            2 => Some(Self::Infrastructure),
            _ => None,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customer => "customer",
            Self::Infrastructure => "infrastructure",
        })
    }
}

/// What one layer seals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// AES-256-GCM, SP 800-38D.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305, RFC 8439.
    ChaCha20Poly1305 = 2,
    /// AEGIS-256X2 with a tag of 128 bits.
    Aegis256X2 = 3,
}

impl Algorithm {
    /// The number on disk and in every derivation.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes256Gcm => "AES-256-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::Aegis256X2 => "AEGIS-256X2",
        })
    }
}

/// Which layers a store has, and what each of them seals with.
///
/// The suite is policy: it is taken from an authenticated keyring and from nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Suite {
    /// The customer's layer alone, AES-256-GCM.
    One = 1,
    /// AES-256-GCM within ChaCha20-Poly1305: another algorithm from another library.
    Two = 2,
    /// AES-256-GCM within AEGIS-256X2: the fast second layer.
    Three = 3,
}

impl Suite {
    /// Every suite that this build can use.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// The number on disk and on the command line.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The suite with this number.
    ///
    /// # Errors
    ///
    /// [`UnknownSuite::ReservedForFips`] for 4, [`UnknownSuite::NoSuchNumber`] for any other number.
    pub const fn from_number(number: u8) -> Result<Self, UnknownSuite> {
        match number {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            4 => Err(UnknownSuite::ReservedForFips),
            _ => Err(UnknownSuite::NoSuchNumber { number }),
        }
    }

    /// The layers, innermost first.
    pub const fn layers(self) -> &'static [Layer] {
        match self {
            Self::One => &[Layer::Customer],
            Self::Two | Self::Three => &[Layer::Customer, Layer::Infrastructure],
        }
    }

    /// The number of layers, 1 or 2.
    pub const fn layer_count(self) -> usize {
        self.layers().len()
    }

    /// What a layer seals with, or `None` when the suite has no such layer.
    pub const fn algorithm(self, layer: Layer) -> Option<Algorithm> {
        match (self, layer) {
            (_, Layer::Customer) => Some(Algorithm::Aes256Gcm),
            (Self::One, Layer::Infrastructure) => None,
            (Self::Two, Layer::Infrastructure) => Some(Algorithm::ChaCha20Poly1305),
            (Self::Three, Layer::Infrastructure) => Some(Algorithm::Aegis256X2),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.number())?;
        for (index, layer) in self.layers().iter().enumerate() {
            let separator = if index == 0 { "" } else { " + " };
            let algorithm = self
                .algorithm(*layer)
                .expect("layers() lists layers of the suite");
            write!(f, "{separator}{algorithm}")?;
        }
        f.write_str(")")
    }
}

/// The number names no suite that this build can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownSuite {
    /// No suite has this number.
    NoSuchNumber {
        /// The number found.
        number: u8,
    },
    /// Suite 4 is reserved for FIPS builds.
    ReservedForFips,
}

impl fmt::Display for UnknownSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNumber { number } => {
                write!(f, "there is no suite {number}; this build knows 1, 2 and 3")
            }
            Self::ReservedForFips => {
                f.write_str("suite 4 is reserved for FIPS builds; this build knows 1, 2 and 3")
            }
        }
    }
}

impl std::error::Error for UnknownSuite {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_has_an_algorithm_for_each_of_its_layers_and_for_no_other() {
        for suite in Suite::ALL {
            for layer in [Layer::Customer, Layer::Infrastructure] {
                assert_eq!(
                    suite.algorithm(layer).is_some(),
                    suite.layers().contains(&layer)
                );
            }
            assert_eq!(Suite::from_number(suite.number()), Ok(suite));
        }
    }

    #[test]
    fn the_fips_suite_is_refused_by_name() {
        assert_eq!(Suite::from_number(4), Err(UnknownSuite::ReservedForFips));
        assert_eq!(
            Suite::from_number(0),
            Err(UnknownSuite::NoSuchNumber { number: 0 })
        );
        assert_eq!(
            Suite::from_number(5),
            Err(UnknownSuite::NoSuchNumber { number: 5 })
        );
    }
}
