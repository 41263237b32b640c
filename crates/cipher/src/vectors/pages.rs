//! Vectors of pages (format section 3).

use super::place::Place;
use super::*;

pub(super) fn page_vectors() -> Named {
    let mut vectors = Named::new();
    for suite in Suite::ALL {
        let place = Place::new(suite);
        let mut add = |name: &str, text: String| {
            vectors.push((format!("suite{}-{name}", suite.number()), text));
        };
        opened_pages(&place, &mut add);
        altered_bits(&place, &mut add);
        moved_pages(&place, &mut add);
        whole_frames(&place, &mut add);
        versions(&place, &mut add);
        if suite != Suite::One {
            two_layers(&place, &mut add);
        }
    }
    let mut add = |name: &str, text| vectors.push((name.into(), text));
    policies(&mut add);
    vectors
}

fn opened_pages(place: &Place, add: &mut impl FnMut(&str, String)) {
    let page = plaintext(place.size);
    let text = place.text("opened", "3.3", "a page", &place.seal(&page), &page);
    add("opened", text);

    let zero = vec![0; page.len()];
    let text = place.text(
        "opened",
        "3.3",
        "a page of zeros",
        &place.seal(&zero),
        &zero,
    );
    add("opened-zeros", text);

    let mut far = place.clone();
    far.page = PageNumber::MAX.as_u64();
    let text = far.text(
        "opened",
        "3.2",
        "the last page number",
        &far.seal(&page),
        &page,
    );
    add("opened-last-page", text);

    let mut large = place.clone();
    large.size = PageSize::from_log2(12).expect("4096");
    let page = plaintext(large.size);
    let text = large.text(
        "opened",
        "3",
        "a page of 4096 bytes",
        &large.seal(&page),
        &page,
    );
    add("opened-4096", text);
}

fn altered_bits(place: &Place, add: &mut impl FnMut(&str, String)) {
    let size = place.size.bytes();
    let sealed = place.seal(&plaintext(place.size));
    for index in 0..place.suite.layer_count() {
        let slot = size + index * SLOT_LEN;
        let layer = index + 1;
        for (name, offset, bit, section, what) in [
            ("format-0", 0, 0, "3.1", "format 0"),
            ("format-3", 0, 1, "3.1", "format 3"),
            (
                "algorithm",
                1,
                2,
                "3.3",
                "an algorithm that is not the policy's",
            ),
            ("flags-first", 2, 0, "3.3", "the first flag is set"),
            ("flags-last", 3, 7, "3.3", "the last flag is set"),
            ("dek-zero", 4, 0, "1", "DEK id 0, which names no key"),
            (
                "dek-unknown",
                4,
                1,
                "3.3",
                "DEK id 3, which the keyring does not have",
            ),
            (
                "dek-high",
                7,
                7,
                "3.3",
                "the last byte of the DEK id is altered",
            ),
            (
                "version-first",
                8,
                0,
                "3.1",
                "version 1 in a page with one home",
            ),
            (
                "version-last",
                15,
                7,
                "3.1",
                "version 2^63 in a page with one home",
            ),
            (
                "salt-first",
                16,
                0,
                "3.3",
                "the first bit of the salt is altered",
            ),
            (
                "salt-last",
                31,
                7,
                "3.3",
                "the last bit of the salt is altered",
            ),
            (
                "iv-first",
                32,
                0,
                "3.3",
                "the first bit of the IV is altered",
            ),
            ("iv-last", 43, 7, "3.3", "the last bit of the IV is altered"),
            (
                "tag-first",
                44,
                0,
                "3.3",
                "the first bit of the tag is altered",
            ),
            (
                "tag-last",
                59,
                7,
                "3.3",
                "the last bit of the tag is altered",
            ),
        ] {
            let mut frame = sealed.clone();
            frame[slot + offset] ^= 1 << bit;
            let comment = format!("layer {layer}: {what}");
            let text = place.rejected(section, &comment, &place.with_crc(frame));
            add(&format!("layer{layer}-{name}"), text);
        }
    }
    for (name, offset) in [("first", 0), ("middle", size / 2), ("last", size - 1)] {
        let mut frame = sealed.clone();
        frame[offset] ^= 0x10;
        let comment = format!("byte {offset} of the page is altered");
        let text = place.rejected("3.3", &comment, &place.with_crc(frame));
        add(&format!("page-{name}"), text);
    }
}

fn moved_pages(place: &Place, add: &mut impl FnMut(&str, String)) {
    let frame = place.seal(&plaintext(place.size));
    let mut moved = |name: &str, comment: &str, change: &dyn Fn(&mut Place)| {
        let mut elsewhere = place.clone();
        change(&mut elsewhere);
        add(name, elsewhere.rejected("3.2", comment, &frame));
    };
    moved(
        "moved-page",
        "page 7 in the place of page 8, otherwise intact",
        &|place| {
            place.page = 8;
        },
    );
    moved(
        "moved-page-high",
        "page 7 in the place of page 2^48 + 7",
        &|place| {
            place.page += 1 << 48;
        },
    );
    moved(
        "moved-file",
        "the page of another file of the store",
        &|place| {
            place.file = FileId::from_bytes(counting(0x21));
        },
    );
    moved(
        "moved-store",
        "the page of another store that has the same keys",
        &|place| {
            place.store = StoreId::from_bytes(counting(0x11));
        },
    );
    moved(
        "key-1",
        "layer 1: another key under the same DEK id",
        &|place| {
            place.deks[0][31] ^= 1;
        },
    );
    if place.suite != Suite::One {
        moved(
            "key-2",
            "layer 2: another key under the same DEK id",
            &|place| {
                place.deks[1][0] ^= 0x80;
            },
        );
        moved(
            "keys-swapped",
            "the keys of the layers are swapped",
            &|place| {
                place.deks.swap(0, 1);
            },
        );
    }
}

fn whole_frames(place: &Place, add: &mut impl FnMut(&str, String)) {
    let size = place.size.bytes();
    let sealed = place.seal(&plaintext(place.size));

    let zero = vec![0; sealed.len()];
    add(
        "zeroed",
        place.rejected("4", "a frame of zeros is not a page of zeros", &zero),
    );
    add(
        "ones",
        place.rejected("3.3", "a frame of 0xff", &vec![0xff; sealed.len()]),
    );

    let mut page_zeroed = sealed.clone();
    page_zeroed[..size].fill(0);
    let text = place.rejected(
        "3.3",
        "the page is zero, the slots are intact",
        &place.with_crc(page_zeroed),
    );
    add("page-zeroed", text);

    let mut slots_zeroed = sealed.clone();
    slots_zeroed[size..].fill(0);
    add(
        "slots-zeroed",
        place.rejected(
            "3.3",
            "the slots are zero, the page is intact",
            &slots_zeroed,
        ),
    );

    let mut other = place.clone();
    other.page = 8;
    let mut mixed = sealed.clone();
    mixed[..size].copy_from_slice(&other.seal(&vec![1; size])[..size]);
    let text = place.rejected(
        "3.3",
        "the page of frame 8 with the slots of frame 7",
        &place.with_crc(mixed),
    );
    add("slots-of-another-page", text);

    let mut torn = sealed.clone();
    torn[..size / 2].copy_from_slice(&place.seal(&vec![1; size])[..size / 2]);
    let text = place.rejected(
        "3.3",
        "the first half is another version of the page",
        &place.with_crc(torn),
    );
    add("torn", text);

    // What a writer that misread section 3.2 would make.
    for (name, comment, range, bytes) in [
        (
            "aad-page-number",
            "the AAD has the page number with the most significant byte first",
            40..48,
            7u64.to_be_bytes().to_vec(),
        ),
        (
            "aad-page-size",
            "the AAD names pages of 1024 bytes",
            6..7,
            vec![10],
        ),
        ("aad-layer", "the AAD names layer 3", 4..5, vec![3]),
        (
            "aad-magic",
            "the AAD begins with CDV1",
            0..4,
            b"CDV1".to_vec(),
        ),
    ] {
        let mut aad = place.aad(Layer::Customer, Algorithm::Aes256Gcm);
        aad[range].copy_from_slice(&bytes);
        let mut inner = Place::new(Suite::One).seal(&plaintext(place.size));
        let key = place.subkey(Layer::Customer, Algorithm::Aes256Gcm, SALTS[0]);
        let mut page = plaintext(place.size);
        let tag = key.seal_in_place(&IVS[0], &aad, &mut page);
        inner[..size].copy_from_slice(&page);
        inner[size..][TAG].copy_from_slice(&tag);
        let frame = match place.suite.algorithm(Layer::Infrastructure) {
            None => place.with_crc(inner),
            Some(outer) => {
                let aad = place.aad(Layer::Infrastructure, outer);
                place.reseal_outer(&inner, outer, &aad, &IVS[1])
            }
        };
        add(
            name,
            place.rejected("3.2", &format!("layer 1: {comment}"), &frame),
        );
    }
}

/// Pages with two homes, whose version is taken from the slot and then authenticated.
fn versions(place: &Place, add: &mut impl FnMut(&str, String)) {
    let mut place = place.clone();
    place.version = (41 << 1) | 1;
    let size = place.size.bytes();
    let page = plaintext(place.size);
    let sealed = place.seal(&page);
    let text = place.text(
        "opened",
        "5.1",
        "version 83 of a page with two homes",
        &sealed,
        &page,
    );
    add("version-opened", text);
    let mut highest = place.clone();
    highest.version = (1 << 63) - 1;
    let text = highest.text(
        "opened",
        "5.1",
        "the highest version",
        &highest.seal(&page),
        &page,
    );
    add("version-opened-highest", text);

    let mut raised = sealed.clone();
    for slot in raised[size..].chunks_exact_mut(SLOT_LEN) {
        slot[8] += 2;
    }
    let comment = "every slot claims a higher version than was sealed";
    add(
        "version-raised",
        place.rejected("3.2", comment, &place.with_crc(raised)),
    );
    for index in 0..place.suite.layer_count() {
        let mut raised = sealed.clone();
        raised[size + index * SLOT_LEN + 8] += 2;
        let comment = format!("the slot of layer {} claims a higher version", index + 1);
        let text = place.rejected("3.2", &comment, &place.with_crc(raised));
        add(&format!("version-raised-layer{}", index + 1), text);
    }
    let mut single = place.clone();
    single.version = 0;
    let comment = "a page with two homes in the place of a page with one";
    add(
        "version-unexpected",
        single.rejected("3.1", comment, &sealed),
    );
}

fn two_layers(place: &Place, add: &mut impl FnMut(&str, String)) {
    let size = place.size.bytes();
    let page = plaintext(place.size);
    let sealed = place.seal(&page);
    let outer = place
        .suite
        .algorithm(Layer::Infrastructure)
        .expect("two layers");

    let mut single = Place::new(Suite::One);
    single.slots = SlotCount::Two;
    let inner = single.seal(&page);
    let text = place.rejected(
        "3.3",
        "layer 2 was taken off: what is left is a whole frame of suite 1",
        &inner,
    );
    add("layer2-stripped", text);

    let mut kept = inner.clone();
    kept[size + SLOT_LEN..].copy_from_slice(&sealed[size + SLOT_LEN..]);
    let text = place.rejected(
        "3.3",
        "layer 2 was taken off, its slot left in place",
        &place.with_crc(kept),
    );
    add("layer2-stripped-slot-kept", text);

    let mut swapped = sealed.clone();
    let (first, second) = swapped[size..].split_at_mut(SLOT_LEN);
    first.swap_with_slice(second);
    add(
        "slots-swapped",
        place.rejected("3.3", "the slots are swapped", &place.with_crc(swapped)),
    );

    let mut checksum = sealed.clone();
    checksum[size + 60] = 1;
    let text = place.rejected(
        "3.1",
        "the inner slot has a checksum",
        &place.with_crc(checksum),
    );
    add("layer1-checksum", text);

    let aad = place.aad(Layer::Infrastructure, outer);
    let same = place.reseal_outer(&inner, outer, &aad, &IVS[1]);
    assert!(same == sealed, "the long way round gives the same frame");

    let aad_1 = place.aad(Layer::Customer, outer);
    let text = place.rejected(
        "3.2",
        "layer 2 is bound as layer 1",
        &place.reseal_outer(&inner, outer, &aad_1, &IVS[1]),
    );
    add("layer2-aad-layer", text);

    // The outer layer over the page alone, the inner secrets in clear.
    let mut clear = inner[..size].to_vec();
    let key = place.subkey(Layer::Infrastructure, outer, SALTS[1]);
    let tag = key.seal_in_place(&IVS[1], &aad, &mut clear);
    let mut frame = inner.clone();
    frame[..size].copy_from_slice(&clear);
    frame[size..][CRC].fill(0);
    frame[size + SLOT_LEN..].copy_from_slice(&sealed[size + SLOT_LEN..]);
    frame[size + SLOT_LEN..][TAG].copy_from_slice(&tag);
    let text = place.rejected(
        "3.3",
        "layer 2 covers the page alone",
        &place.with_crc(frame),
    );
    add("layer2-page-alone", text);

    for other in [
        Algorithm::Aes256Gcm,
        Algorithm::ChaCha20Poly1305,
        Algorithm::Aegis256X2,
    ] {
        if other != outer {
            let aad = place.aad(Layer::Infrastructure, other);
            let comment = format!("layer 2 is {other}, correctly sealed, but not the policy's");
            let frame = place.reseal_outer(&inner, other, &aad, &IVS[1]);
            let text = place.rejected("3.3", &comment, &frame);
            add(&format!("layer2-algorithm-{}", other.number()), text);

            let mut named = frame;
            named[size + SLOT_LEN + 1] = outer.number();
            let comment = format!("layer 2 is {other}, but its slot names the policy's algorithm");
            let text = place.rejected("3.3", &comment, &place.with_crc(named));
            add(
                &format!("layer2-algorithm-{}-disguised", other.number()),
                text,
            );
        }
    }

    // An altered inner layer below an intact outer one: who holds only the outer key gains nothing.
    for (name, offset, what) in [
        ("page", 0, "page"),
        ("salt", size + SALT.start, "salt"),
        ("iv", size + IV.start, "IV"),
        ("tag", size + TAG.start, "tag"),
    ] {
        let mut altered = inner.clone();
        altered[offset] ^= 1;
        let comment = format!("the inner {what} was altered below an intact layer 2");
        let frame = place.reseal_outer(&altered, outer, &aad, &IVS[1]);
        add(
            &format!("inner-{name}-altered"),
            place.rejected("3.3", &comment, &frame),
        );
    }
}

/// Frames that are whole under one policy and read under another.
fn policies(add: &mut impl FnMut(&str, String)) {
    let page = plaintext(PageSize::from_log2(9).expect("the smallest"));
    for sealed_as in [Suite::Two, Suite::Three] {
        let frame = Place::new(sealed_as).seal(&page);
        for read_as in Suite::ALL {
            if read_as != sealed_as {
                let mut place = Place::new(read_as);
                place.slots = SlotCount::Two;
                let (from, to) = (sealed_as.number(), read_as.number());
                let comment = format!("a frame of suite {from} under the policy of suite {to}");
                let text = place.rejected("1", &comment, &frame);
                add(&format!("policy-{to}-frame-{from}"), text);
            }
        }
    }

    let mut roomy = Place::new(Suite::One);
    roomy.slots = SlotCount::Two;
    let frame = roomy.seal(&page);
    let text = roomy.text(
        "opened",
        "3",
        "one layer with room for the second",
        &frame,
        &page,
    );
    add("room-opened", text);
    for offset in [0, 16, 63] {
        let mut used = frame.clone();
        used[roomy.size.bytes() + SLOT_LEN + offset] = 1;
        let comment = format!("byte {offset} of the slot of a layer that is not in the policy");
        let text = roomy.rejected("3.3", &comment, &roomy.with_crc(used));
        add(&format!("room-byte-{offset}"), text);
    }
}
