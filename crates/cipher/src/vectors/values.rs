//! Vectors of values (format section 7).

use super::place::Place;
use super::*;

/// Where a value stands.
#[derive(Clone)]
struct ValuePlace {
    suite: Suite,
    store: StoreId,
    scope: [u8; 16],
    context: Vec<u8>,
    deks: [[u8; 32]; 2],
}

impl ValuePlace {
    fn new(suite: Suite) -> ValuePlace {
        ValuePlace {
            suite,
            store: StoreId::from_bytes(counting(0x10)),
            scope: counting(0x30),
            context: b"row 17".to_vec(),
            deks: [counting(0x40), counting(0x80)],
        }
    }

    fn keys(&self) -> Arc<DataKeys> {
        let mut place = Place::new(self.suite);
        place.store = self.store;
        place.deks = self.deks;
        place.keys()
    }

    fn seal(&self, value: &[u8]) -> Vec<u8> {
        let keys = self.keys();
        let epoch = Epoch::with_salts(&keys, Purpose::Value(self.scope), &SALTS).expect("keys");
        let cipher = ValueCipher::new(keys, self.scope, clock);
        cipher.seal_one(
            &epoch,
            &IVS[..self.suite.layer_count()],
            &self.context,
            value,
        )
    }

    fn text(&self, expect: &str, comment: &str, sealed: &[u8], value: &[u8]) -> String {
        let mut text = head(expect, "7", comment);
        let _ = writeln!(text, "suite: {}", self.suite.number());
        let _ = writeln!(text, "store_id: {}", self.store);
        let _ = writeln!(text, "scope_id: {}", hex(&self.scope));
        field(&mut text, "context", &self.context);
        deks(&mut text, self.suite, &self.deks);
        field(&mut text, "plaintext", value);
        field(&mut text, "sealed", sealed);
        text
    }
}

pub(super) fn value_vectors() -> Named {
    let mut vectors = Named::new();
    for suite in Suite::ALL {
        let place = ValuePlace::new(suite);
        let mut add = |name: &str, text: String| {
            vectors.push((format!("suite{}-{name}", suite.number()), text));
        };
        opened_values(&place, &mut add);
        refused_values(&place, &mut add);
    }
    vectors
}

fn opened_values(place: &ValuePlace, add: &mut impl FnMut(&str, String)) {
    let value = b"A cofferdam is a wall built twice.";
    add(
        "opened",
        place.text("opened", "a value", &place.seal(value), value),
    );
    add(
        "opened-empty",
        place.text("opened", "the empty value", &place.seal(b""), b""),
    );
    let mut bare = place.clone();
    bare.context.clear();
    let text = bare.text(
        "opened",
        "a value without a context",
        &bare.seal(value),
        value,
    );
    add("opened-no-context", text);
    let mut long = place.clone();
    long.context = vec![0x5a; 1024];
    let text = long.text("opened", "the longest context", &long.seal(value), value);
    add("opened-long-context", text);
}

fn refused_values(place: &ValuePlace, add: &mut impl FnMut(&str, String)) {
    let value = b"A cofferdam is a wall built twice.";
    let sealed = place.seal(value);
    for (name, offset, bit, what) in [
        ("format", 0, 1, "format 3"),
        ("algorithm", 1, 2, "an algorithm that is not the policy's"),
        ("flags-first", 2, 0, "the first flag is set"),
        ("flags-last", 3, 7, "the last flag is set"),
        ("dek-zero", 4, 0, "DEK id 0"),
        (
            "dek-unknown",
            4,
            1,
            "DEK id 3, which the keyring does not have",
        ),
        ("salt", 8, 0, "the salt is altered"),
        ("iv", 24, 0, "the IV is altered"),
        (
            "value",
            36,
            0,
            "the first byte of the ciphertext is altered",
        ),
        (
            "tag",
            sealed.len() - 1,
            7,
            "the last bit of the tag is altered",
        ),
    ] {
        let mut altered = sealed.clone();
        altered[offset] ^= 1 << bit;
        add(name, place.text("rejected", what, &altered, b""));
    }
    for (name, len, what) in [
        ("empty", 0, "no bytes at all"),
        (
            "short",
            VALUE_OVERHEAD - 1,
            "one byte too short to be a value",
        ),
        ("truncated", sealed.len() - 1, "the last byte is missing"),
    ] {
        add(name, place.text("rejected", what, &sealed[..len], b""));
    }
    let mut longer = sealed.clone();
    longer.push(0);
    add(
        "trailing",
        place.text("rejected", "one byte follows", &longer, b""),
    );

    let mut moved = |name: &str, what: &str, change: &dyn Fn(&mut ValuePlace)| {
        let mut elsewhere = place.clone();
        change(&mut elsewhere);
        add(name, elsewhere.text("rejected", what, &sealed, b""));
    };
    moved("moved-row", "the value of another row", &|place| {
        place.context = b"row 18".to_vec();
    });
    moved(
        "moved-context-longer",
        "a context that begins like the value's",
        &|place| {
            place.context.push(0);
        },
    );
    moved("moved-scope", "the value of another column", &|place| {
        place.scope[0] ^= 1
    });
    moved(
        "moved-store",
        "the value of another store that has the same keys",
        &|place| {
            place.store = StoreId::from_bytes(counting(0x11));
        },
    );
    moved(
        "key-1",
        "layer 1: another key under the same DEK id",
        &|place| place.deks[0][0] ^= 1,
    );
    if place.suite != Suite::One {
        moved(
            "key-2",
            "layer 2: another key under the same DEK id",
            &|place| place.deks[1][0] ^= 1,
        );
        let inner = ValuePlace::new(Suite::One).seal(value);
        add(
            "layer2-stripped",
            place.text("rejected", "layer 2 was taken off", &inner, b""),
        );
    } else {
        let outer = ValuePlace::new(Suite::Two).seal(value);
        add(
            "layer2-added",
            place.text(
                "rejected",
                "two layers under the policy of one",
                &outer,
                b"",
            ),
        );
        page_subkey(place, value, add);
    }
}

/// A value sealed with a page's key: the two never share one.
fn page_subkey(place: &ValuePlace, value: &[u8], add: &mut impl FnMut(&str, String)) {
    let keys = place.keys();
    let dek = keys
        .dek(Layer::Customer, DekId::FIRST)
        .expect("it is there");
    let right = dek.value_key(&ValueKeyContext {
        layer: Layer::Customer,
        algorithm: Algorithm::Aes256Gcm,
        store: place.store,
        scope: place.scope,
        dek_id: DekId::FIRST,
        salt: SALTS[0],
    });
    let wrong = dek.page_key(&PageKeyContext {
        layer: Layer::Customer,
        algorithm: Algorithm::Aes256Gcm,
        store: place.store,
        file: FileId::from_bytes(place.scope),
        dek_id: DekId::FIRST,
        salt: SALTS[0],
    });
    let mut aad = b"CDV1\x01\x01\x00\x01".to_vec();
    aad.extend_from_slice(place.store.as_bytes());
    aad.extend_from_slice(&place.scope);
    aad.extend_from_slice(&1u32.to_le_bytes());
    aad.extend_from_slice(&(place.context.len() as u32).to_le_bytes());
    aad.extend_from_slice(&place.context);
    let sealed = place.seal(value);
    let rebuild = |key| {
        let mut message = value.to_vec();
        let key = Subkey::new(Algorithm::Aes256Gcm, key);
        let tag = key.seal_in_place(&IVS[0], &aad, &mut message);
        [&sealed[..36], &message, &tag].concat()
    };
    assert!(
        rebuild(&right) == sealed,
        "the long way round gives the same value"
    );
    add(
        "page-key",
        place.text(
            "rejected",
            "sealed with a page's key",
            &rebuild(&wrong),
            b"",
        ),
    );
}
