//! The worked example (format section 11).

use super::place::Place;
use super::*;

pub(super) fn worked_example() -> String {
    let place = Place::new(Suite::Two);
    let size = place.size.bytes();
    let page = plaintext(place.size);
    let inner = Place::new(Suite::One).seal(&page);
    let frame = place.seal(&page);
    let mut text = String::from(EXAMPLE_HEAD);
    let mut line = |name: &str, bytes: &[u8]| field(&mut text, name, bytes);
    line("store_id", place.store.as_bytes());
    line("file_id", place.file.as_bytes());
    line("page", &page);
    for (index, layer) in [Layer::Customer, Layer::Infrastructure]
        .into_iter()
        .enumerate()
    {
        let algorithm = place.suite.algorithm(layer).expect("two layers");
        let number = layer.number();
        let mut info = b"cofferdam page\0\0".to_vec();
        info.extend_from_slice(&[number, algorithm.number()]);
        info.extend_from_slice(place.store.as_bytes());
        info.extend_from_slice(place.file.as_bytes());
        info.extend_from_slice(&1u32.to_le_bytes());
        info.extend_from_slice(&SALTS[index]);
        line(&format!("DEK_1,{number}"), &place.deks[index]);
        line(&format!("salt_{number}"), &SALTS[index]);
        line(&format!("info_{number}"), &info);
        let key = place.secret(layer, algorithm, SALTS[index]);
        line(&format!("PAGE_{number}"), key.expose());
        line(&format!("IV_{number}"), &IVS[index]);
        line(&format!("AAD_{number}"), &place.aad(layer, algorithm));
        if layer == Layer::Customer {
            line("ct", &inner[..size]);
            line("tag_1", &inner[size..][TAG]);
        } else {
            let sealed = [&inner[..size], &inner[size..][SECRETS]].concat();
            line("ct ‖ salt_1 ‖ IV_1 ‖ tag_1", &sealed[size..]);
            let after = [&frame[..size], &frame[size..][SECRETS]].concat();
            line("the same, sealed", &after[after.len() - SECRETS_LEN..]);
            line("tag_2", &frame[size + SLOT_LEN..][TAG]);
        }
    }
    line("CRC-32C", &frame[size + SLOT_LEN..][CRC]);
    line("frame page", &frame[..size]);
    line("frame slot 1", &frame[size..size + SLOT_LEN]);
    line("frame slot 2", &frame[size + SLOT_LEN..]);
    text.push_str("```\n");
    text
}

const EXAMPLE_HEAD: &str = "\
## 11 Worked example

Page 7 of a file, 512 bytes under suite 2. Salts and IVs are random in life. A test makes this section
from the code, `tests/crosscheck/frames.py` recomputes it from this text alone, and more examples,
most of them of frames to refuse, are in `tests/vectors`. What follows a name is hexadecimal, in the
order of the bytes.

```text
";
